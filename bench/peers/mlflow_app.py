"""MLflow's scoring server on a pyfunc model, as `mlflow models serve` starts it. Run by uvicorn.

`python mlflow_app.py PICKLE FOLDER` saves the model in MLflow's form.
"""

import os
import sys

if __name__ == "__main__":
    import pickle
    from pathlib import Path

    import mlflow.sklearn

    model = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 (made by us)
    mlflow.sklearn.save_model(model, sys.argv[2], serialization_format="pickle")
else:
    from mlflow.pyfunc import load_model, scoring_server

    app = scoring_server.init(load_model(os.environ["BENCH_MLFLOW_MODEL"]))
