"""Rules about NaN, gradients and the quality of the result (`NU`)."""
