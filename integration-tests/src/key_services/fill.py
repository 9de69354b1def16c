"""Puts texts where functions have their keys in AWS, and makes two users.

Reads [[KIND, TEXT], ...] and prints where each text is. Then moto's checks of signatures are on.
"""

import base64
import json
import sys
import urllib.request

import boto3

URL, REGION, FUNCTION = sys.argv[1:]
KEYS = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}


def client(service):
    return boto3.client(service, endpoint_url=URL, region_name=REGION, **KEYS)


def user(name, actions):
    iam = client("iam")
    iam.create_user(UserName=name)
    if actions:
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


def secret(name, **value):
    return client("secretsmanager").create_secret(Name=name, **value)["ARN"]


def parameter(name, text):
    ssm = client("ssm")
    ssm.put_parameter(Name=name, Value=text, Type="SecureString")
    return ssm.get_parameter(Name=name)["Parameter"]["ARN"]


def encrypted(text, context):
    kms = client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    answer = kms.encrypt(KeyId=key, Plaintext=text.encode(), EncryptionContext=context)
    return base64.b64encode(answer["CiphertextBlob"]).decode()


def place(number, kind, text):
    match kind:
        case "Secret":
            return secret(f"secret-{number}", SecretString=text)
        case "BinarySecret":
            return secret(f"secret-{number}", SecretBinary=text.encode())
        case "Parameter":
            return parameter(f"/keys/{number}", text)
        case "Encrypted":
            return encrypted(text, {})
        case "EncryptedByConsole":
            return encrypted(text, {"LambdaFunctionName": FUNCTION})
    raise ValueError(kind)


found = {
    "permitted": user("permitted", ["secretsmanager:*", "ssm:*", "kms:*"]),
    "denied": user("denied", []),
    "places": [place(number, *text) for number, text in enumerate(json.load(sys.stdin))],
}
headers = {"Content-Type": "text/plain"}
request = urllib.request.Request(URL + "/moto-api/reset-auth", b"0", headers)
urllib.request.urlopen(request).read()
print(json.dumps(found))
