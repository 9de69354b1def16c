# A function with oom-witness, and an alarm when it runs out of memory.
#
# Copy `layers` into your own function, and the alarm beside it. The handler stays as it is.

variable "oom_witness_layer_arn" {
  description = "The ARN of the layer, with its version."
  type        = string
}

variable "package" {
  description = "The zip with your function's code."
  type        = string
}

variable "role_arn" {
  description = "The function's role. It needs logs:PutLogEvents."
  type        = string
}

resource "aws_lambda_function" "function" {
  function_name = "resize"
  runtime       = "python3.13"
  handler       = "index.handler"
  filename      = var.package
  role          = var.role_arn
  memory_size   = 128
  timeout       = 30
  layers        = [var.oom_witness_layer_arn]
}

resource "aws_cloudwatch_metric_alarm" "out_of_memory" {
  alarm_name          = "${aws_lambda_function.function.function_name}-out-of-memory"
  alarm_description   = "An invocation ran out of memory. The log says which, and why."
  namespace           = "OomWitness"
  metric_name         = "aws.lambda.enhanced.out_of_memory"
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  # Without an out-of-memory invocation there is no data.
  treat_missing_data = "notBreaching"

  dimensions = {
    FunctionName = aws_lambda_function.function.function_name
    Confidence   = "confirmed"
  }
}
