// The same stack as provisioner's, for AWS CDK. What is wanted comes as JSON from provisioner's own
// declaration, so that both say the same; the image lies in the repository already.
const cdk = require('aws-cdk-lib');
const { aws_dynamodb: dynamodb, aws_ecr: ecr, aws_iam: iam, aws_lambda: lambda, aws_logs: logs } = cdk;

const wanted = JSON.parse(process.env.WANTED);
const env = { account: wanted.account, region: wanted.region };
// No assets, hence no bootstrap stack, no bucket.
const synthesizer = new cdk.BootstraplessSynthesizer();
const stack = new cdk.Stack(new cdk.App(), wanted.name, { env, synthesizer });
const tags = Object.entries(wanted.tags).map(([key, value]) => ({ key, value }));

const role = new iam.CfnRole(stack, 'Role', {
  roleName: wanted.role.name,
  assumeRolePolicyDocument: wanted.role.trust,
  managedPolicyArns: [wanted.role.managed],
  policies: [{ policyName: wanted.role.policy_name, policyDocument: wanted.role.policy }],
  tags,
});
const repository = new ecr.CfnRepository(stack, 'Repository', {
  repositoryName: wanted.repository.name,
  imageScanningConfiguration: { scanOnPush: true },
  imageTagMutability: 'IMMUTABLE',
  lifecyclePolicy: { lifecyclePolicyText: wanted.repository.lifecycle },
  repositoryPolicyText: wanted.repository.policy,
  tags,
});
const table = new dynamodb.CfnTable(stack, 'Table', {
  tableName: wanted.table,
  billingMode: 'PAY_PER_REQUEST',
  attributeDefinitions: ['pk', 'sk'].map((attributeName) => ({ attributeName, attributeType: 'S' })),
  keySchema: [{ attributeName: 'pk', keyType: 'HASH' }, { attributeName: 'sk', keyType: 'RANGE' }],
  timeToLiveSpecification: { attributeName: 'expires_at', enabled: true },
  tags,
});
const group = new logs.CfnLogGroup(stack, 'LogGroup', {
  logGroupName: wanted.log_group.name,
  retentionInDays: wanted.log_group.retention,
  tags,
});
const fn = new lambda.CfnFunction(stack, 'Function', {
  functionName: wanted.function.name,
  packageType: 'Image',
  code: { imageUri: `${repository.attrRepositoryUri}@${wanted.function.image}` },
  architectures: [wanted.function.architecture],
  memorySize: wanted.function.memory,
  timeout: wanted.function.timeout,
  role: role.attrArn,
  environment: { variables: wanted.function.environment },
  tags,
});
[table, group].forEach((first) => fn.addResourceDependency(first));
const call = (id, action, rest) =>
  new lambda.CfnPermission(stack, id, { functionName: fn.ref, action, principal: '*', ...rest });
const callUrl = call('CallUrl', 'lambda:InvokeFunctionUrl', { functionUrlAuthType: 'NONE' });
const callFunction = call('CallFunction', 'lambda:InvokeFunction', { invokedViaFunctionUrl: true });
callFunction.addResourceDependency(callUrl);
const url = new lambda.CfnUrl(stack, 'Url', {
  targetFunctionArn: fn.attrArn,
  authType: 'NONE',
  invokeMode: 'RESPONSE_STREAM',
});
url.addResourceDependency(callFunction);
new cdk.CfnOutput(stack, 'FunctionUrl', { value: url.attrFunctionUrl });
