"""Sends requests to one function in this process and prints what each cost, for the Python that runs it.

Standard input has JSON: `source`, `base`, and `requests`, each a path and a cookie. Standard output gets a list of
[seconds of CPU, status]. The CPU's are those of all threads of this process and of no other, so that neither the
emulators nor anybody else on the machine is counted.
"""

import json
import logging
import os
import sys
import time
from typing import Any

import functions_framework

asked, answers, measured = json.load(sys.stdin), sys.stdout, []
logging.disable(logging.CRITICAL)
with open(os.devnull, "w") as sys.stdout:  # noqa: PTH123 -- where the function's log goes
    create_app: Any = functions_framework.create_app
    client = create_app("connect", asked["source"]).test_client(use_cookies=False)
    for path, cookie in asked["requests"]:
        began = time.process_time()
        response = client.get(path, base_url=asked["base"], headers={"Cookie": cookie} if cookie else {})
        measured.append([time.process_time() - began, response.status_code])
json.dump(measured, answers)
