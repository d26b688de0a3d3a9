"""What all tests share."""

import resource

# Tests with hundreds of clients need more files than the 1,024 a login often has.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
