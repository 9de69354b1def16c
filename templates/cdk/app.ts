import { App } from "aws-cdk-lib";
import { ExampleStack } from "./stack";

const app = new App();
new ExampleStack(app, "OomWitnessExample", {
  // cdk deploy --context layerArn=ARN
  layerArn: app.node.getContext("layerArn"),
});
