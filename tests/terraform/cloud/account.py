"""Where the cloud of the tests says that it is: where our own servers say that they are, so that their ARNs agree."""

ACCOUNT = "000000000000"
REGION = "us-east-1"
