import { Duration } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import * as lambda from "aws-cdk-lib/aws-lambda";

/** Adds oom-witness to a function. Returns an alarm that fires when the function runs out of memory. */
export function addOomWitness(fn: lambda.Function, layerArn: string): cloudwatch.Alarm {
  fn.addLayers(lambda.LayerVersion.fromLayerVersionArn(fn, "OomWitness", layerArn));

  const outOfMemory = new cloudwatch.Metric({
    namespace: "OomWitness",
    metricName: "aws.lambda.enhanced.out_of_memory",
    dimensionsMap: {
      FunctionName: fn.functionName,
      Confidence: "confirmed",
    },
    statistic: "Sum",
    period: Duration.minutes(1),
  });
  return outOfMemory.createAlarm(fn, "OutOfMemoryAlarm", {
    alarmDescription: "An invocation ran out of memory. The log says which, and why.",
    threshold: 1,
    evaluationPeriods: 1,
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    // Without an out-of-memory invocation there is no data.
    treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
  });
}
