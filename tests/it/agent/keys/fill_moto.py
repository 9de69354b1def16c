"""Fills moto with keys and users, then turns its checks of signatures on. Prints what there is."""

import base64
import json
import sys
import urllib.request

import boto3

URL = sys.argv[1]
KEYS = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}


def client(service):
    return boto3.client(service, endpoint_url=URL, region_name="eu-central-1", **KEYS)


def user(name, actions):
    iam = client("iam")
    iam.create_user(UserName=name)
    if actions:
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


def encrypted(key, text, context):
    answer = kms.encrypt(KeyId=key, Plaintext=text, EncryptionContext=context)
    return base64.b64encode(answer["CiphertextBlob"]).decode()


def secret(name, **value):
    return client("secretsmanager").create_secret(Name=name, **value)["ARN"]


kms = client("kms")
ssm = client("ssm")
key = kms.create_key()["KeyMetadata"]["KeyId"]
ssm.put_parameter(Name="/keys/datadog", Value="key-of-ssm", Type="SecureString")
ssm.put_parameter(Name="/keys/otlp", Value="api-key=key-of-ssm", Type="SecureString")
found = {
    "permitted": user("permitted", ["secretsmanager:*", "ssm:*", "kms:*"]),
    "denied": user("denied", []),
    "secret": secret("plain", SecretString="key-of-secret"),
    "json": secret("json", SecretString=json.dumps({"user": "u", "dd_api_key": "key-of-json"})),
    "binary": secret("binary", SecretBinary=b"key-of-binary"),
    "headers": secret("headers", SecretString="api-key=se%20cret,x-scope=a%2Cb\n"),
    "headers_parameter": ssm.get_parameter(Name="/keys/otlp")["Parameter"]["ARN"],
    "parameter": ssm.get_parameter(Name="/keys/datadog")["Parameter"]["ARN"],
    "console": encrypted(key, b"key-of-console", {"LambdaFunctionName": "function"}),
    "cli": encrypted(key, b"key-of-cli", {}),
}
headers = {"Content-Type": "text/plain"}
request = urllib.request.Request(URL + "/moto-api/reset-auth", b"0", headers)
urllib.request.urlopen(request).read()
print(json.dumps(found))
