"""What requests, candles, reports and schemas are: values and their checks, without any I/O."""
