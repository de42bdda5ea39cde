"""A local SQS: one process, in memory, AWS JSON 1.0 on 127.0.0.1, as faithful as a dispatcher needs."""
