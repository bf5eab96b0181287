"""When an account may open another connection to Deriv."""
