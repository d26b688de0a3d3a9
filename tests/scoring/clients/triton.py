"""What tritonclient sees of an instance: `triton.py TABLE_PORT MATRIX_PORT`, facts as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

CODINGS = (None, "gzip", "deflate")


def tensor(name, array, datatype, binary=True):
    made = http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def failure(ask):
    try:
        ask()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return None


def about(client):
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("churn"),
        "version ready": client.is_model_ready("churn", "1"),
        "other version ready": client.is_model_ready("churn", "9"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("churn"),
        "index": client.get_model_repository_index(),
    }


def table(client):
    found = {"about": about(client)}
    for binary in (True, False):
        inputs = [
            tensor("age", np.array([41, 29]), "INT64", binary),
            tensor("income", np.array([1.5, np.nan]), "FP64", binary),
            tensor("country", np.array(["NL", "Zürich"], dtype=object), "BYTES", binary),
        ]
        outputs = [
            http.InferRequestedOutput("total", binary_data=binary),
            http.InferRequestedOutput("label", binary_data=binary),
        ]
        for wanted in (outputs, None):
            said = client.infer("churn", inputs, outputs=wanted, request_id="r-1")
            response = said.get_response()
            found[f"binary {binary}, outputs {bool(wanted)}"] = {
                "id": response["id"],
                "version": response["model_version"],
                "names": [one["name"] for one in response["outputs"]],
                "total": [repr(float(one)) for one in said.as_numpy("total").ravel()],
                "label": [
                    one.decode() if isinstance(one, bytes) else str(one)
                    for one in said.as_numpy("label").ravel()
                ],
            }
    return found


def matrix(client):
    found = {}
    for datatype, kind in (("FP32", np.float32), ("FP64", np.float64), ("INT64", np.int64)):
        array = np.arange(6).reshape(2, 3).astype(kind)
        for coding in CODINGS:
            said = client.infer(
                "churn",
                [tensor("inputs", array, datatype)],
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            result = said.as_numpy("predict")
            found[f"{datatype} {coding}"] = {
                "dtype": str(result.dtype),
                "right": bool((result == array * 2).all() and result.shape == array.shape),
            }
    many = np.random.default_rng(0).normal(size=(1000, 3))
    for coding in CODINGS:
        said = client.infer(
            "churn",
            [tensor("inputs", many, "FP64")],
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        found[f"many {coding}"] = bool((said.as_numpy("predict") == many * 2).all())
    wide = [tensor("inputs", np.zeros((1, 4)), "FP64")]
    right = [tensor("inputs", np.zeros((1, 3)), "FP64")]
    found["wide"] = failure(lambda: client.infer("churn", wide))
    found["unknown model"] = failure(lambda: client.infer("nobody", right))
    found["unknown version"] = failure(lambda: client.infer("churn", right, model_version="9"))
    found["version"] = failure(lambda: client.infer("churn", right, model_version="1"))
    found["unknown output"] = failure(
        lambda: client.infer("churn", right, outputs=[http.InferRequestedOutput("nothing")])
    )
    return found


def main(table_port, matrix_port):
    with http.InferenceServerClient(f"127.0.0.1:{table_port}") as client:
        found = {"table": table(client)}
    with http.InferenceServerClient(f"127.0.0.1:{matrix_port}") as client:
        found["matrix"] = matrix(client)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
