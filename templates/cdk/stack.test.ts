import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Match, Template } from "aws-cdk-lib/assertions";
import { ExampleStack } from "./stack";

const layerArn = "arn:aws:lambda:us-east-1:123456789012:layer:oom-witness:1";
const template = Template.fromStack(new ExampleStack(new App(), "Example", { layerArn }));
const [functionId] = Object.keys(template.findResources("AWS::Lambda::Function"));

test("the function has the layer, and its handler stays", () => {
  template.hasResourceProperties("AWS::Lambda::Function", {
    Handler: "index.handler",
    Layers: [layerArn],
  });
});

test("the alarm is on the confirmed counts of the function", () => {
  template.hasResourceProperties("AWS::CloudWatch::Alarm", {
    Namespace: "OomWitness",
    MetricName: "aws.lambda.enhanced.out_of_memory",
    Dimensions: Match.arrayEquals([
      { Name: "Confidence", Value: "confirmed" },
      { Name: "FunctionName", Value: { Ref: functionId } },
    ]),
    Statistic: "Sum",
    Period: 60,
    Threshold: 1,
    ComparisonOperator: "GreaterThanOrEqualToThreshold",
    TreatMissingData: "notBreaching",
  });
});
