// The same stack as provisioner's, for AWS CDK: the template that provisioner prints, taken in as it is.
// The image lies in the repository already.
const cdk = require('aws-cdk-lib');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');

const { NAME, TEMPLATE, IMAGE } = process.env;
const env = { account: '000000000000', region: 'us-east-1' };
// No assets, hence no bootstrap stack, no bucket.
const synthesizer = new cdk.BootstraplessSynthesizer();
const stack = new cdk.Stack(new cdk.App(), NAME, { env, synthesizer });
new CfnInclude(stack, 'Template', { templateFile: TEMPLATE, parameters: { ImageUri: IMAGE } });
