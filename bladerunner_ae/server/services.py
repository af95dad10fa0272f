"""What requests ask for, by whichever way they come: predict, status, metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from bladerunner_ae.protocol import messages
from bladerunner_ae.server.errors import Code, ServingError, invalid
from bladerunner_ae.server.json_requests import DEFAULT_SIGNATURE
from bladerunner_ae.server.running import Runner
from bladerunner_ae.server.saved_model import CLASSIFY, PREDICT, REGRESS, Arrays, Signature
from bladerunner_ae.server.sizes import Sizes, of_signatures
from bladerunner_ae.server.versions import Catalogue, Version

SIGNATURE_DEF = "signature_def"


class Services:
    """Answers requests; use it in the event loop's thread.

    Errors bear TensorFlow Serving's codes and words.
    """

    def __init__(self, catalogue: Catalogue, runner: Runner) -> None:
        self.catalogue, self._runner = catalogue, runner
        self._sizes: WeakKeyDictionary[Version, Sizes] = WeakKeyDictionary()

    async def predict(
        self, version: Version, name: str, inputs: Arrays, wanted: Sequence[str] = ()
    ) -> Arrays:
        """Runs a signature.

        Args:
            version: from the catalogue.
            name: of the signature; "" means the default one.
            inputs: by name.
            wanted: names of outputs; empty means all.

        Raises:
            ServingError: the request is not as it should be, or cannot be served now.
            tf.errors.OpError: the graph cannot do it.
        """
        name = name or DEFAULT_SIGNATURE
        signature = version.saved_model.signatures.get(name)
        if signature is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        _check_method(signature)
        _check_inputs(signature, inputs)
        _check_wanted(signature, wanted)
        outputs = await self._runner.run(version, signature, inputs)
        return {alias: outputs[alias] for alias in wanted} if wanted else outputs

    def sizes(self, version: Version) -> Sizes:
        """The most that a request for a version can want."""
        found = self._sizes.get(version)
        if found is None:
            definitions = [one.definition for one in version.saved_model.signatures.values()]
            limits = self._runner.limits
            found = of_signatures(definitions, limits.batch_rows, limits.body_bytes)
            self._sizes[version] = found
        return found

    def refuse(self, version: Version, name: str, method: str) -> ServingError:
        """Why `classify` and `regress` are not possible; our models have no such signatures."""
        name = name or DEFAULT_SIGNATURE
        signature = version.saved_model.signatures.get(name)
        if signature is None:
            return invalid(f"No signature was found with the name: {name}")
        kind, wanted = {
            "classify": ("classification", CLASSIFY),
            "regress": ("regression", REGRESS),
        }[method]
        was = signature.definition.method_name
        if was == wanted:
            return ServingError(Code.UNIMPLEMENTED, f"{method} is not served here; use predict")
        return invalid(f"Expected {kind} signature method_name to be {wanted}. Was: {was}")

    def status(self, name: str, number: int | None) -> Any:
        """`GetModelStatusResponse` of a model's versions, or of one."""
        response = messages.GetModelStatusResponse()
        for version, state in self.catalogue.states(name, number).items():
            entry = response.model_version_status.add(version=version, state=state.name)
            entry.status.error_code = state.code
            entry.status.error_message = state.message
        return response

    def metadata(self, version: Version, fields: Iterable[str] = (SIGNATURE_DEF,)) -> Any:
        """`GetModelMetadataResponse` of a version."""
        fields = list(fields)
        if not fields:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for entry in fields:
            if entry != SIGNATURE_DEF:
                raise invalid(f"Metadata field {entry} is not supported")
        response = messages.GetModelMetadataResponse()
        response.model_spec.name = version.model
        response.model_spec.version.value = version.number
        response.metadata[SIGNATURE_DEF].Pack(signatures(version))
        return response


def signatures(version: Version) -> Any:
    """`SignatureDefMap` of a version."""
    found = messages.SignatureDefMap()
    for name, signature in version.saved_model.signatures.items():
        found.signature_def[name].MergeFromString(signature.definition.SerializeToString())
    return found


def _check_method(signature: Signature) -> None:
    was = signature.definition.method_name
    if was not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {was}",
        )


def _check_inputs(signature: Signature, inputs: Mapping[str, Any]) -> None:
    sent, wanted = set(inputs), set(signature.inputs)
    if sent == wanted:
        return
    if len(sent) == len(wanted):
        alias = min(wanted - sent)
        feed = signature.definition.inputs[alias].name
        raise invalid(
            f"Signature input alias: {alias}(feed name: {feed}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {{{_listed(sent)}}}, or "
            "default input alias set: "
        )
    raise invalid(
        f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_listed(sent)}}}) "
        f"!= len({{{_listed(wanted)}}}). Sent extra: {{{_listed(sent - wanted)}}}. Missing but "
        f"required: {{{_listed(wanted - sent)}}}."
    )


def _check_wanted(signature: Signature, wanted: Sequence[str]) -> None:
    seen: set[str] = set()
    for alias in wanted:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {{{_listed(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
