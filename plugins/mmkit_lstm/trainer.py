"""Training, with torch."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mmkit import model_folder
from mmkit.errors import RunError, UsageError
from mmkit.interfaces import SignalTrainer, TrainingContext, TrainingSet, TrainingStep
from mmkit.learning import best_shift
from mmkit.signal_models import check_splits, macro_f1
from mmkit_lstm import checkpoint, scaling
from mmkit_lstm.network import DeepLob, Lstm, Scaled
from mmkit_lstm.saved import GRAPH, TENSORS, VERSION, Head, pack
from mmkit_lstm.settings import LstmTraining

_AT_ONCE = 256
"""Windows that are judged together: few enough for the caches of a CPU."""


class LstmTrainer(SignalTrainer):
    """Minimises the weighted cross entropy with Adam, and keeps the epoch with the best validation macro-F1.

    What is kept has its calls shifted for it, by `mmkit.learning.best_shift`; the network that learns on has not.

    After each epoch its state is written to the context's ``scratch``, from which `fit` can go on: it then ends
    with the same bytes as if it had never stopped.
    """

    def __init__(self, config: LstmTraining, context: TrainingContext) -> None:
        self._config, self._context = config, context
        self._device = _device(config.device)
        self._offset = self._factor = np.empty(0)
        self._best: dict[str, Tensor] = {}

    @property
    def device(self) -> str:
        """Where it trains: ``cpu`` or ``cuda``."""
        return self._device.type

    def fit(
        self,
        train: TrainingSet,
        valid: TrainingSet,
        *,
        seed: int,
        progress: Callable[[TrainingStep], None],
        stop: Callable[[], bool],
        resume: Path | None = None,
    ) -> None:
        """Train until the F1 on `valid` gets no better."""
        check_splits(train, valid, self._context)
        config = self._config
        self._best = {}
        self._offset, self._factor = scaling.fit(train.windows, config.scaling, self._context.names)
        with _seeded(self._device, config.threads):
            torch.manual_seed(seed)
            network = self._network().to(self._device)
            optimizer = torch.optim.AdamW(
                network.parameters(), config.learning_rate, weight_decay=config.weight_decay
            )
            counts = np.bincount(train.labels, minlength=3)
            balanced = len(train.labels) / (3 * counts)
            weights = balanced if config.class_weights == "balanced" else np.ones(3)
            criterion = nn.CrossEntropyLoss(
                torch.tensor(weights, dtype=torch.float32, device=self._device)
            )
            state = checkpoint.Progress(of=self._digest(train, valid, seed))
            if resume is not None:
                state, weights_now, self._best, moments = checkpoint.read(resume, state.of)
                network.load_state_dict(weights_now)
                groups = optimizer.state_dict()["param_groups"]
                optimizer.load_state_dict({"state": moments, "param_groups": groups})
            while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
                loss, whole = self._epoch(network, optimizer, criterion, train, seed, state, stop)
                if loss is None:
                    break
                scores = self._scores(network, valid)
                if config.calls == "f1":
                    shift = best_shift(valid.labels, scores).astype(np.float32)
                else:
                    shift = np.zeros(3, np.float32)
                f1 = macro_f1(valid.labels, (scores + shift).argmax(axis=1))
                if f1 > state.best_f1:
                    state.best_f1, state.best_epoch = f1, state.epoch + 1
                    self._best = _copy(network)
                    self._best[network.last_bias] += torch.from_numpy(shift)
                state.epoch += 1
                if whole and self._context.scratch is not None:
                    checkpoint.write(
                        self._context.scratch,
                        state,
                        network.state_dict(),
                        self._best,
                        optimizer.state_dict(),
                    )
                progress(
                    TrainingStep(
                        done=state.epoch,
                        total=config.epochs,
                        loss=loss,
                        f1=f1,
                        best_f1=state.best_f1,
                    )
                )
                if not whole or stop():
                    break

    def _epoch(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: nn.Module,
        train: TrainingSet,
        seed: int,
        state: checkpoint.Progress,
        stop: Callable[[], bool],
    ) -> tuple[float | None, bool]:
        """Return the mean loss, `None` before the first step, and whether the epoch came to its end."""
        # Drawn from seed and epoch alone, so that a resumed training draws the same.
        draw = np.random.default_rng([seed, state.epoch])
        torch.manual_seed(int(draw.integers(2**31)))
        order = draw.permutation(len(train.labels))
        total, seen = torch.zeros((), dtype=torch.float64, device=self._device), 0
        network.train()
        for start in range(0, len(order), self._config.batch):
            if stop():
                return (float(total) / seen if seen else None), False
            chosen = np.sort(order[start : start + self._config.batch])
            labels = torch.from_numpy(train.labels[chosen].astype(np.int64)).to(self._device)
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(network(self._scaled(train.windows[chosen])), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), self._config.clip)
            optimizer.step()
            total += loss.detach() * len(chosen)
            seen += len(chosen)
        mean = float(total) / seen
        if not np.isfinite(mean):
            raise RunError(
                f"epoch {state.epoch + 1}: a finite loss was expected; found {mean}; take a smaller learning_rate "
                f"than {self._config.learning_rate}, or another scaling than '{self._config.scaling}'"
            )
        return mean, True

    def _scores(self, network: nn.Module, data: TrainingSet) -> npt.NDArray[np.float32]:
        network.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(data.labels), _AT_ONCE):
                scaled = self._scaled(data.windows[start : start + _AT_ONCE])
                found.append(network(scaled).cpu().numpy())
        return np.concatenate(found)

    def _scaled(self, windows: npt.NDArray[np.float64]) -> Tensor:
        with np.errstate(over="ignore"):  # told as a loss that is not finite
            scaled = ((windows - self._offset) * self._factor).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(scaled)).to(self._device)

    def _network(self) -> Lstm | DeepLob:
        config, features = self._config, len(self._context.names)
        if config.network == "deeplob":
            return DeepLob(features, config.dropout)
        return Lstm(features, config.lstm, config.dense, config.dropout)

    def _digest(self, train: TrainingSet, valid: TrainingSet, seed: int) -> str:
        """Return what tells this training from others, without reading each value of each window."""
        digest = hashlib.sha256(
            repr(
                (self._config.model_dump(exclude={"epochs", "patience"}), self._context.names, seed)
            ).encode()
        )
        for data in (train, valid):
            digest.update(np.ascontiguousarray(data.labels).data)
            digest.update(np.ascontiguousarray(data.windows[:, -1]).data)
            digest.update(repr(data.windows.shape).encode())
        return digest.hexdigest()

    def save(self, folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
        """Write the best network so far."""
        if not self._best:
            raise RunError("nothing was trained, so there is nothing to save; train first")
        import onnx

        network = self._network()
        network.load_state_dict(self._best)
        tensors = {name: tensor.numpy() for name, tensor in self._best.items()}
        tensors |= {"scaling.offset": self._offset, "scaling.factor": self._factor}
        config = self._config
        plain = config.network == "lstm"
        head = Head(
            version=VERSION,
            network=config.network,
            lstm=len(config.lstm) if plain else 1,
            dense=len(config.dense) + 1 if plain else 1,
        )
        return model_folder.save(
            folder,
            {TENSORS: pack(head, tensors), GRAPH: self._graph(network)},
            {
                **card,
                "libraries": {
                    "numpy": np.__version__,
                    "onnx": onnx.__version__,
                    "torch": str(torch.__version__),
                },
                "device": self.device,
            },
            plugin="lstm",
            names=self._context.names,
            window=self._context.window,
        )

    def _graph(self, network: nn.Module) -> bytes:
        """Return the network as ONNX, with its scaling: windows as they are to probabilities."""
        whole = Scaled(network, torch.from_numpy(self._offset), torch.from_numpy(self._factor))
        example = torch.zeros(
            1, self._context.window, len(self._context.names), dtype=torch.float64
        )
        file = io.BytesIO()
        with warnings.catch_warnings():
            # The newer exporter needs a package more, and writes no other graph for these networks.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="torch.onnx")
            # Of checks of shapes, which are the same for every n.
            warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")
            torch.onnx.export(
                whole.eval(),
                (example,),
                file,  # type: ignore[arg-type]  # this exporter takes one, unlike the newer
                input_names=["windows"],
                output_names=["probabilities"],
                dynamic_axes={"windows": {0: "n"}, "probabilities": {0: "n"}},
                dynamo=False,
            )
        return file.getvalue()


def _device(asked: str) -> torch.device:
    """Return where to train.

    Raises:
        UsageError: if a GPU is asked for and there is none that torch can use.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        built = f"torch {torch.__version__} was built for CUDA {torch.version.cuda}"
        raise UsageError(
            f"device: cuda: a GPU was asked for; found none that torch can use ({built}); write 'device: auto' or "
            "'device: cpu', or install the driver and a torch for it"
        )
    return torch.device("cuda" if asked != "cpu" and there else "cpu")


@contextmanager
def _seeded(device: torch.device, threads: int) -> Iterator[None]:
    """Let torch be deterministic, and leave it as it was."""
    # cuBLAS is deterministic only with this (https://docs.nvidia.com/cuda/cublas, "Results reproducibility").
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    strict, number = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    memory: Any = torch.utils.deterministic  # a module whose settings torch's types do not tell
    filled = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True)
        # It fills all memory before use, against mistakes in torch itself: a tenth of the time.
        memory.fill_uninitialized_memory = False
        if threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            memory.fill_uninitialized_memory = filled
            torch.set_num_threads(number)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
