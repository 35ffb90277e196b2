"""Sends requests to one function in this process and prints what each cost, for the Python that runs it.

Standard input has JSON: `source`, and `requests`, each with `path` and `cookie`. Standard output gets a list of
[seconds of CPU, seconds by the clock, status]. The CPU's are those of all threads of this process and of no other, so
that neither the emulators nor anybody else on the machine is counted.
"""

import json
import logging
import sys
import time
from typing import Any

import functions_framework


def main() -> None:
    asked = json.load(sys.stdin)
    answers = sys.stdout
    sys.stdout = sys.stderr
    logging.disable(logging.CRITICAL)
    create_app: Any = functions_framework.create_app
    client = create_app("connect", asked["source"]).test_client(use_cookies=False)
    measured = []
    for request in asked["requests"]:
        cpu, clock = time.process_time(), time.perf_counter()
        headers = {"Cookie": request["cookie"]} if request["cookie"] else {}
        response = client.get(request["path"], base_url=asked["base"], headers=headers)
        measured.append([time.process_time() - cpu, time.perf_counter() - clock, response.status_code])
    json.dump(measured, answers)


main()
