"""What plain requests see of an instance: `plain_requests.py PORT`, facts as JSON."""

import gzip
import json
import sys

import requests


def main(port):
    url = f"http://127.0.0.1:{port}"
    rows = [{"age": 41, "income": 1.5, "country": "NL"}, {"age": 29, "income": 2, "country": "DE"}]
    table = "age,income,country\n41,1.5,NL\n29,2,DE\n"
    with requests.Session() as session:
        found = {
            "score": session.post(f"{url}/score", json=rows).json(),
            "records": session.post(f"{url}/invocations", json={"dataframe_records": rows}).json(),
            "csv": session.post(
                f"{url}/invocations", data=table, headers={"Content-Type": "text/csv"}
            ).json(),
            "zipped": session.post(
                f"{url}/score",
                data=gzip.compress(json.dumps(rows).encode()),
                headers={"Content-Encoding": "gzip"},
            ).json(),
            "kserve": session.post(
                f"{url}/v1/models/churn:predict", json={"instances": rows}
            ).json(),
        }
        refused = session.post(f"{url}/score", json=[{"age": "old"}])
        found["refused"] = {"status": refused.status_code, "error": refused.json()["error"]}
        answer = session.post(f"{url}/score", json=rows, headers={"X-Request-Id": "mine"})
        found["id"] = answer.headers["X-Request-Id"]
        found["ping"] = session.get(f"{url}/ping").status_code
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
