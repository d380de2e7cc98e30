import sys

import pytest
from processes import run

HANGS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)
time.sleep(1000)
"""


def test_a_command_that_hangs_fails_and_leaves_no_process():
    with pytest.raises(AssertionError, match=r'exited with -6 after more than 4 s') as caught:
        run(sys.executable, '-c', HANGS, timeout=4)  # what holds its output would make this wait
    assert 'line 4 in <module>' in str(caught.value)
