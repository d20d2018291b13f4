"""The same decoder and model behind LitServe, for benchmarks/serving.py, which starts this in LitServe's environment.

python benchmarks/serving_litserve.py MODEL PORT BATCH
"""

import sys

import litserve
import numpy as np

import allmlp
from allmlp.data import decode


class Api(litserve.LitAPI):
    """Decoding, batches and answers as a user of LitServe would write them."""

    def setup(self, device):  # noqa: ARG002 - LitServe's name
        self.model = allmlp.open_model(sys.argv[1])
        self.predictor = allmlp.Predictor(self.model)

    def decode_request(self, request):
        return self.model.preparation.resize(decode(request["photo"].file.read(), name="photo"))

    def batch(self, inputs):
        return np.stack(inputs)

    def unbatch(self, output):
        return list(output)

    def predict(self, images):
        one = images.ndim == 3
        logits = self.model.forward(self.model.preparation.normalise(images[None] if one else images))
        return logits[0] if one else logits

    def encode_response(self, logits):
        return {"labels": list(self.predictor.prediction("photo", logits).labels)}


if __name__ == "__main__":
    size = int(sys.argv[3])
    api = Api(max_batch_size=size, batch_timeout=0.002 if size > 1 else 0.0)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="error"
    )
