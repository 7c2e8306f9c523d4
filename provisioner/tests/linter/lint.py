"""Prints what parliament finds in the policies on standard input: one `document issue what` a line.

Reads an object of documents by name. Says nothing about the policies itself.
"""

import json
import sys

from parliament import analyze_policy_string

for name, document in json.load(sys.stdin).items():
    policy = analyze_policy_string(json.dumps(document), ignore_private_auditors=True)
    for finding in policy.findings:
        details = finding.detail if isinstance(finding.detail, list) else [finding.detail]
        for detail in details:
            what = detail["action"] if isinstance(detail, dict) else detail
            print(name, finding.issue, what)
