import { CfnOutput, Duration, Stack, StackProps } from "aws-cdk-lib";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";
import { addOomWitness } from "./oom-witness";

export interface ExampleStackProps extends StackProps {
  /** The ARN of the layer, with its version. */
  readonly layerArn: string;
}

/** A function with oom-witness, and an alarm when it runs out of memory. */
export class ExampleStack extends Stack {
  constructor(scope: Construct, id: string, props: ExampleStackProps) {
    super(scope, id, props);

    const fn = new lambda.Function(this, "Function", {
      runtime: lambda.Runtime.PYTHON_3_13,
      handler: "index.handler",
      code: lambda.Code.fromAsset("../function"),
      memorySize: 128,
      timeout: Duration.seconds(30),
    });
    addOomWitness(fn, props.layerArn);
    new CfnOutput(this, "FunctionName", { value: fn.functionName });
  }
}
