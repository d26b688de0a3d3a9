"""What MLflow's scoring client sees of an instance: `mlflow_client.py PORT`, facts as JSON."""

import json
import sys

import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def main(port):
    client = ScoringServerClient("127.0.0.1", int(port))
    client.wait_server_ready(timeout=10)
    frame = pd.DataFrame({"age": [41, 29], "income": [1.5, None], "country": ["NL", "DE"]})
    found = {
        "version": client.get_version(),
        "predictions": client.invoke(frame).get_predictions().to_dict("records"),
    }
    try:
        client.invoke(frame.drop(columns="country"))
    except Exception as error:
        found["missing"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
