"""Many runs, and their measures: tables over seeds, bias and variance, reports on teachers."""
