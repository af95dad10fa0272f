"""Server for SavedModels with TensorFlow Serving's interface, over REST and gRPC.

`process` starts and stops everything. A request arrives by `rest` or `rpc`, is answered by
`services`, and gets to the session (`saved_model`) by `running` and `batching`; `versions` loads
and unloads models meanwhile.

Where a comment says "as TensorFlow Serving", it was read in that project's source: routes and
statuses in `http_rest_api_handler.cc`, `http_rest_api_util.cc`, `json_tensor.cc`,
`predict_util.cc`, `get_model_status_impl.cc`, `server_core.cc` and `basic_manager.cc`. Messages are
our own.
"""
