"""Prints the versions of layers that moto's Lambda has in the regions that are named."""

import base64
import json
import sys

import boto3

URL, *REGIONS = sys.argv[1:]
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


def is_public(client, name, number):
    try:
        answer = client.get_layer_version_policy(LayerName=name, VersionNumber=number)
    except client.exceptions.ResourceNotFoundException:
        return False
    [statement] = json.loads(answer["Policy"])["Statement"]
    assert statement["Effect"] == "Allow" and statement["Action"] == "lambda:GetLayerVersion"
    return statement["Principal"] == "*"


found = []
for region in REGIONS:
    client = boto3.client("lambda", endpoint_url=URL, region_name=region, **KEYS)
    for layer in client.list_layers()["Layers"]:
        name = layer["LayerName"]
        for version in client.list_layer_versions(LayerName=name)["LayerVersions"]:
            number = version["Version"]
            whole = client.get_layer_version(LayerName=name, VersionNumber=number)
            found.append({
                "arn": whole["LayerVersionArn"],
                "architectures": whole["CompatibleArchitectures"],
                "license": whole["LicenseInfo"],
                "description": whole["Description"],
                "sha256": base64.b64decode(whole["Content"]["CodeSha256"]).hex(),
                "public": is_public(client, name, number),
            })
print(json.dumps(found))
