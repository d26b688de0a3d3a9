"""A VetiverAPI around the model. Run by uvicorn."""

import os
import pickle
from pathlib import Path

from vetiver import VetiverAPI, VetiverModel

model = pickle.loads(Path(os.environ["BENCH_MODEL"]).read_bytes())  # noqa: S301 (made by us)
app = VetiverAPI(VetiverModel(model, "scoring"), check_prototype=False).app
