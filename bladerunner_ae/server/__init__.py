"""A server for SavedModels that speaks as TensorFlow Serving does, over REST and gRPC.

| module | what |
|---|---|
| `errors` | canonical codes, their HTTP status |
| `saved_model` | one SavedModel in a session: signatures, warm-up requests, running them |
| `folders` | where models and their versions lie |
| `versions` | which versions are served: found, loaded, unloaded while running |
| `running` | requests on their way to the session: limits, threads |
| `batching` | requests of several clients in one run |
| `json_requests`, `json_values`, `json_answers` | JSON to tensors and back |
| `protocol.tensors`, `protocol.raw_messages` | `TensorProto` to numpy and back |
| `services` | what the requests ask for: predict, status, metadata |
| `json_process` | large JSON, parsed in a process of its own |
| `rest`, `bodies`, `connections` | HTTP: routes, bodies, timeouts, ports |
| `browsers` | hosts, and what web pages may send |
| `holding` | the bytes that all requests hold together |
| `sizes`, `pictures` | how large a request can be, and how much work its pictures are |
| `rpc` | gRPC |
| `metrics` | Prometheus |
| `process` | all of it in one process, and how it ends |

Where a comment says "as TensorFlow Serving", it was read in that project's source: statuses and
messages in `http_rest_api_handler.cc`, `http_rest_api_util.cc`, `json_tensor.cc`,
`predict_util.cc`, `get_model_status_impl.cc`, `server_core.cc` and `basic_manager.cc`.
"""
