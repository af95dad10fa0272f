"""A server for SavedModels with TensorFlow Serving's interface, over REST and gRPC.

| module | contents |
|---|---|
| `errors` | canonical codes and their HTTP status |
| `limits` | what one request may want, and what all of them may hold |
| `saved_model` | a SavedModel in a session: signatures, warm-up requests, running them |
| `folders` | folders of models and their versions |
| `versions` | versions: found, loaded, unloaded while the server runs |
| `running`, `batching` | requests on their way to the session, alone or several together |
| `services` | answers to requests of both APIs: predict, status, metadata |
| `json_codec`, `json_process` | JSON to tensors and back; large JSON in a process of its own |
| `rest`, `bodies`, `browsers` | HTTP: routes, bodies, protection against web pages |
| `rpc` | gRPC |
| `connections` | ports, and connections that do not last for ever |
| `metrics` | Prometheus |
| `explorer` | the page at `/` |
| `process` | all of it in one process, and how it stops |

Where a comment says "as TensorFlow Serving", it was read in that project's source: routes and
statuses in `http_rest_api_handler.cc`, `http_rest_api_util.cc`, `json_tensor.cc`,
`predict_util.cc`, `get_model_status_impl.cc`, `server_core.cc` and `basic_manager.cc`. Messages are
our own.
"""
