"""What KServe's REST client sees of an instance: `kserve_client.py PORT`, facts as JSON."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def version_2(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    array = np.array([[1.0, 2.0, 3.0]])
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model ready": await client.is_model_ready(url, "churn"),
        "other model ready": await client.is_model_ready(url, "nobody"),
    }
    for binary in (True, False):
        tensor = InferInput("inputs", [1, 3], "FP64")
        tensor.set_data_from_numpy(array, binary_data=binary)
        asked = InferRequest("churn", [tensor], request_id="r-2")
        said = await client.infer(url, asked, model_name="churn")
        found[f"binary {binary}"] = {
            "id": said.id,
            "predict": said.outputs[0].as_numpy().tolist(),
        }
    wide = InferInput("inputs", [1, 4], "FP64", data=[1.0, 2.0, 3.0, 4.0])
    try:
        await client.infer(url, InferRequest("churn", [wide]), model_name="churn")
    except httpx.HTTPStatusError as error:
        found["wide"] = str(error)
    return found


async def version_1(url):
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    return {
        "live": await client.is_server_live(url),
        "model ready": await client.is_model_ready(url, "churn"),
        "predict": await client.infer(url, {"instances": [[1.0, 2.0, 3.0]]}, model_name="churn"),
    }


async def main(port):
    url = f"http://127.0.0.1:{port}"
    print(json.dumps({"v2": await version_2(url), "v1": await version_1(url)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
