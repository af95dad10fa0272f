from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from bladerunner_ae.protocol import messages
from bladerunner_ae.server.json_codec import DEFAULT_SIGNATURE
from bladerunner_ae.server.limits import Sizes, sizes_of
from bladerunner_ae.server.running import Runner
from bladerunner_ae.server.saved_model import (
    CLASSIFY,
    PREDICT,
    REGRESS,
    Arrays,
    Signature,
    check_shapes,
)
from bladerunner_ae.server.serving_errors import Code, ServingError, invalid
from bladerunner_ae.server.versions import Catalogue, Version

SIGNATURE_DEF = "signature_def"


class Services:
    """Answers with TensorFlow Serving's codes; for the thread of the event loop."""

    def __init__(self, catalogue: Catalogue, runner: Runner) -> None:
        self.catalogue, self._runner = catalogue, runner
        self._sizes: WeakKeyDictionary[Version, Sizes] = WeakKeyDictionary()

    async def predict(
        self, version: Version, name: str, inputs: Arrays, wanted: Sequence[str] = ()
    ) -> Arrays:
        """Run a signature ("": the default one) for the wanted outputs, all if there are none.

        ServingError if the request does not fit or cannot be served now, tf.errors.OpError if the
        graph cannot do it.
        """
        name = name or DEFAULT_SIGNATURE
        signature = version.saved_model.signatures.get(name)
        if signature is None:
            raise ServingError(Code.FAILED_PRECONDITION, f'The model has no signature "{name}"')
        _check_method(signature)
        _check_inputs(signature, inputs)
        check_shapes(signature, inputs)
        _check_wanted(signature, wanted)
        outputs = await self._runner.run(version, signature, inputs)
        return {alias: outputs[alias] for alias in wanted} if wanted else outputs

    def sizes(self, version: Version) -> Sizes:
        """Return the most that a request to a version can want."""
        found = self._sizes.get(version)
        if found is None:
            definitions = [one.definition for one in version.saved_model.signatures.values()]
            limits = self._runner.limits
            found = sizes_of(definitions, limits.batch_rows, limits.body_bytes)
            self._sizes[version] = found
        return found

    def refuse(self, version: Version, name: str, method: str) -> ServingError:
        """Return the refusal of `classify` or `regress`, which no exported model has."""
        name = name or DEFAULT_SIGNATURE
        signature = version.saved_model.signatures.get(name)
        if signature is None:
            return invalid(f'The model has no signature "{name}"')
        if signature.definition.method_name == {"classify": CLASSIFY, "regress": REGRESS}[method]:
            return ServingError(Code.UNIMPLEMENTED, f"{method} is not served here; use predict")
        return invalid(f'Signature "{name}" is not for {method}; use predict')

    def status(self, name: str, number: int | None) -> Any:
        """Return the `GetModelStatusResponse` of a model's versions, or of one."""
        response = messages.GetModelStatusResponse()
        for version, state in self.catalogue.states(name, number).items():
            entry = response.model_version_status.add(version=version, state=state.name)
            entry.status.error_code = state.code
            entry.status.error_message = state.message
        return response

    def metadata(self, version: Version, fields: Iterable[str] = (SIGNATURE_DEF,)) -> Any:
        """Return the `GetModelMetadataResponse` of a version."""
        fields = list(fields)
        if not fields:
            raise invalid("The request needs a metadata_field")
        for entry in fields:
            if entry != SIGNATURE_DEF:
                raise invalid(f"metadata_field must be {SIGNATURE_DEF}, not {entry}")
        response = messages.GetModelMetadataResponse()
        response.model_spec.name = version.model
        response.model_spec.version.value = version.number
        response.metadata[SIGNATURE_DEF].Pack(signatures(version))
        return response


def signatures(version: Version) -> Any:
    found = messages.SignatureDefMap()
    for name, signature in version.saved_model.signatures.items():
        found.signature_def[name].MergeFromString(signature.definition.SerializeToString())
    return found


def _check_method(signature: Signature) -> None:
    method = signature.definition.method_name
    if method not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            Code.INTERNAL, f'Signature "{signature.name}" is for "{method}", not for predict'
        )


def _check_inputs(signature: Signature, inputs: Mapping[str, Any]) -> None:
    if set(inputs) != set(signature.inputs):
        raise invalid(
            f'Signature "{signature.name}" has the inputs {_listed(signature.inputs)}, the request '
            f"has {_listed(inputs) or 'none'}"
        )


def _check_wanted(signature: Signature, wanted: Sequence[str]) -> None:
    for alias in wanted:
        if alias not in signature.outputs:
            raise invalid(
                f'output_filter: {alias} is no output of "{signature.name}", which has '
                f"{_listed(signature.outputs)}"
            )
    if len(set(wanted)) < len(wanted):
        raise invalid(f"output_filter: {_listed(wanted)} names an output twice")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
