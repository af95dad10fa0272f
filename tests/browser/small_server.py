"""A small server of a decoder's folder with the explorer: `python -m tests.browser.small_server`.

Answers the part of TensorFlow Serving's REST API that the page uses, for the newest version in the
folder, which is looked for at every request.
"""

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bladerunner_ae.explorer import routes


class SmallServer:
    """See the module."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._loaded: dict[Path, Any] = {}

    def current(self) -> tuple[str, Path] | None:
        """The model's name and its newest version's folder."""
        folders = [path for path in self._base.iterdir() if path.name.isdigit()]
        return (
            ("decoder", max(folders, key=lambda path: int(path.name))) if folders else None
        )

    def _model(self) -> Any:
        found = self.current()
        assert found is not None
        if found[1] not in self._loaded:
            self._loaded[found[1]] = tf.saved_model.load(str(found[1]))
        return self._loaded[found[1]]

    async def status(self, request: Request) -> JSONResponse:
        """GET /v1/models/decoder"""
        found = self.current()
        states = [{"version": found[1].name, "state": "AVAILABLE"}] if found else []
        return JSONResponse({"model_version_status": states})

    async def metadata(self, request: Request) -> JSONResponse:
        """GET /v1/models/decoder/versions/N/metadata"""
        size = self._model().signatures["serving_default"].inputs[0].shape[-1]
        dimensions = {"dim": [{"size": "-1"}, {"size": str(size)}]}
        signatures = {
            name: {"inputs": {"latent": {"dtype": "DT_FLOAT", "tensor_shape": dimensions}}}
            for name in self._model().signatures
        }
        return JSONResponse({"metadata": {"signature_def": {"signature_def": signatures}}})

    async def predict(self, request: Request) -> JSONResponse:
        """POST /v1/models/decoder/versions/N:predict"""
        found = self.current()
        if found is None or found[1].name != request.path_params["version"]:
            return JSONResponse({"error": "Servable not found"}, 404)
        body = await request.json()
        signature = self._model().signatures[body["signature_name"]]
        latents = np.asarray(body["instances"], np.float32)
        answer = await run_in_threadpool(lambda: signature(latent=tf.constant(latents)))
        pictures = answer["image_bytes"].numpy()
        return JSONResponse(
            {"predictions": [{"b64": base64.b64encode(picture).decode()} for picture in pictures]}
        )

    def app(self) -> Starlette:
        """All routes, the explorer's at the end."""
        model = "/v1/models/decoder"
        return Starlette(
            routes=[
                Route(model, self.status),
                Route(f"{model}/versions/{{version:int}}/metadata", self.metadata),
                Route(f"{model}/versions/{{version}}:predict", self.predict, methods=["POST"]),
                *routes(self.current),
            ]
        )


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(SmallServer(folder).app(), port=port, log_level="warning")
