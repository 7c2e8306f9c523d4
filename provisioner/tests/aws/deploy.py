"""Deploys a template as a CloudFormation stack, a second time as an update; prints its outputs as JSON.

The words: where the emulator is, the stack's name, the template's file, then KEY=VALUE of parameters.
"""

import json
import sys

import boto3
from botocore.exceptions import ClientError, WaiterError

endpoint, name, path, *parameters = sys.argv[1:]
client = boto3.client(
    "cloudformation",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
with open(path, encoding="utf-8") as file:
    template = file.read()
wanted = {
    "StackName": name,
    "TemplateBody": template,
    "Capabilities": ["CAPABILITY_NAMED_IAM"],
    "Parameters": [
        dict(zip(("ParameterKey", "ParameterValue"), word.split("=", 1), strict=True))
        for word in parameters
    ],
}
client.validate_template(TemplateBody=template)
try:
    client.describe_stacks(StackName=name)
    there = True
except ClientError:
    there = False
change, wait = (
    (client.update_stack, "stack_update_complete")
    if there
    else (client.create_stack, "stack_create_complete")
)
change(**wanted)
try:
    client.get_waiter(wait).wait(StackName=name, WaiterConfig={"Delay": 1})
except WaiterError:
    for event in client.describe_stack_events(StackName=name)["StackEvents"]:
        print(event.get("LogicalResourceId"), event.get("ResourceStatusReason"), file=sys.stderr)
    raise
stack = client.describe_stacks(StackName=name)["Stacks"][0]
print(json.dumps({one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}))
