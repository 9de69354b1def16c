"""Gives moto's account a function, and the log of an invocation that ran out of memory."""

import io
import sys
import time
import urllib.request
import zipfile

import boto3

URL = sys.argv[1]
REPORT = (
    "REPORT RequestId: 806ab12b\tDuration: 376256.59 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory"
)


def client(name):
    return boto3.client(name, endpoint_url=URL)


# moto then answers an invocation itself, without a container.
config = b'{"lambda": {"use_docker": false}}'
headers = {"Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(f"{URL}/moto-api/config", config, headers))

role = client("iam").create_role(RoleName="resize", AssumeRolePolicyDocument="{}")
code = io.BytesIO()
zipfile.ZipFile(code, "w").writestr("index.py", "")
client("lambda").create_function(
    FunctionName="resize",
    Runtime="python3.13",
    Handler="index.handler",
    Role=role["Role"]["Arn"],
    Code={"ZipFile": code.getvalue()},
)

logs = client("logs")
stream = {"logGroupName": "/aws/lambda/resize", "logStreamName": "2026/11/29/[$LATEST]1"}
logs.create_log_group(logGroupName=stream["logGroupName"])
logs.create_log_stream(**stream)
event = {"timestamp": int(time.time() * 1000), "message": REPORT}
logs.put_log_events(**stream, logEvents=[event])
