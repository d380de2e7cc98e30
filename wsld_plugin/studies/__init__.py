"""Many runs, and what is measured of them."""
