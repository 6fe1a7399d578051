"""The model users train: a network with compile, fit, evaluate, predict and save."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy.typing as npt

from fastmlp import _checks, io, losses, optimizers
from fastmlp._engines import engine
from fastmlp._engines.base import Pass
from fastmlp._training import checkpoint, data, evaluation, loop, scoring
from fastmlp._training.progress import Progress, Verbosity
from fastmlp._training.run import FitSettings, Run, check_callbacks
from fastmlp._training.scoring import Given
from fastmlp.callbacks import Callback
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.layers import Layer, Standardize
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer
from fastmlp.parameter import Initializer

__all__ = ["Sequential", "load_model"]

Array = npt.NDArray[Any]


class Sequential(Network):
    """A chain of layers that can be trained.

    Parameters
    ----------
    layers : iterable of Layer
        At least one. A layer object belongs to one model.
    input_shape : tuple of int, or int
        Shape of one sample. A flat shape (784,) also takes samples of 784 elements in another
        shape, such as images (28, 28).
    dtype : {"float32", "float64"}, default="float32"
        Type of the parameters and of all computation.
    seed : int, default=0
        Key of the initial weights, of the batch orders and of the masks of Dropout, at least 0.
        Same seed, same data, same backend: the same run, for any number of threads.
    scale : float, default=1.0
        Factor of all samples, here and in every later call. Images of bytes with ``scale=1/255``
        stay bytes in memory and are converted a batch at a time.
    init : str, array or initializer, default=None
        Initial weights of all layers that were made without ``init``; see
        ``fastmlp.initializers``. None: "glorot_uniform", of an Embedding "normal". Biases, and the
        factors of normalisation, are not concerned.

    Attributes
    ----------
    layers : tuple of Layer
    input_shape, output_shape : tuple of int
        Shapes of one sample.
    dtype : numpy.dtype
    seed : int
    backend : {"kernels", "numpy"}
        What it runs on; may be set at any time between calls.
    optimizer, loss
        Those of the last ``compile`` or ``fit``; at first ``SGD(0.01)`` and cross_entropy.
    history : History or None
        Of the last ``fit``.
    epochs_begun : int
        Number of epochs begun so far, over all calls of ``fit``: it keys the next batch order.
    steps_done : int
        Number of training steps done so far, likewise: it keys the next masks of Dropout.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above or a layer cannot take the shape it would get.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Dense(8, activation="relu"), fm.Dense(3)], input_shape=(4,))
    >>> model.num_parameters
    67
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        seed: int = 0,
        *,
        scale: float = 1.0,
        init: str | Array | Initializer | None = None,
        initialize: bool = True,
    ) -> None:
        super().__init__(
            layers, input_shape, dtype, seed, scale=scale, init=init, initialize=initialize
        )
        self.optimizer: Optimizer = optimizers.SGD()
        self.loss: Loss = losses.CrossEntropy()
        self.metrics: tuple[Given, ...] | None = None
        self.history: History | None = None

    # --- Training -------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "sgd",
        loss: str | Loss = "cross_entropy",
        metrics: Sequence[Given] | None = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : str or Optimizer, default="sgd"
            A name means its defaults.
        loss : str or Loss, default="cross_entropy"
            "cross_entropy" and "binary_cross_entropy" (from raw outputs), "hinge", "mse", "mae" or
            "huber"; an object such as ``fm.CrossEntropy(label_smoothing=0.1)`` has settings.
        metrics : list of str and functions, default=None
            What to measure beside the loss; None means accuracy wherever the loss has classes, []
            nothing. With classes: "accuracy", "error", "top_5" (or any number), "precision",
            "recall" and "f1" (of class 1 of two, else the mean of the classes; "f1_macro",
            "f1_micro" and "f1_weighted" say it), "log_loss"; with numbers "mse", "mae", "r2"; or
            functions of (y_true, outputs), arrays of all samples, that return a number. A function
            has a column of its ``__name__``.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, or the loss or metric does not fit the model. Then nothing has
            changed.
        """
        chosen, kept = optimizers.get(optimizer), losses.get(loss)
        kept.check_output(self.output_shape)
        given = None if metrics is None else scoring.check_metrics(metrics)
        scoring.scores(given, kept, self.output_shape)
        self.optimizer, self.loss, self.metrics = chosen, kept, given

    def fit(
        self,
        x: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
        y: npt.ArrayLike | None = None,
        epochs: int = 10,
        batch_size: int = data.BATCH_SIZE,
        optimizer: str | Optimizer | None = None,
        loss: str | Loss | None = None,
        validation_data: tuple[npt.ArrayLike, ...]
        | Iterable[Any]
        | Callable[[], Iterable[Any]]
        | None = None,
        shuffle: bool = True,
        callbacks: Iterable[Callback] | None = None,
        verbose: Verbosity = "auto",
        sample_weight: npt.ArrayLike | None = None,
        metrics: Sequence[Given] | None = None,
        resume: str | os.PathLike[str] | None = None,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train by mini-batches.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples: any real dtype and layout, finite. Converted once if need be, never changed. A
            data frame of pandas or polars will do, and series for ``y`` and ``sample_weight``.
            Without ``y``, batches: an iterable of tuples (x, y) or (x, y, sample_weight), such as a
            generator, or a function without arguments that returns one.
        y : array of shape (N,), (N, classes) or (N, *output_shape)
            Integer labels or one-hot rows for cross_entropy and hinge, numbers from 0 to 1 for
            binary_cross_entropy, targets for mse, mae and huber. (N,) will do for one output.
        epochs : int, default=10
            Passes over the data, at least 1.
        batch_size : int, default=32
            Samples a step, at least 1. A last, shorter batch is trained with its own mean. To be
            left out where ``x`` gives batches.
        optimizer : str or Optimizer, default=None
            None means that of ``compile`` or the last ``fit``, at first ``SGD(0.01)``. The same
            object goes on where it was; another one begins with states of zero.
        loss : str or Loss, default=None
            None likewise, at first "cross_entropy".
        validation_data : tuple (x, y) or (x, y, sample_weight), default=None
            Evaluated after every epoch. Or batches, which must begin again each time: a function
            or an iterable, but no iterator, list or tuple.
        shuffle : bool, default=True
            Whether every epoch has a new order, which (seed, number of the epoch) decides.
        callbacks : iterable of Callback, default=None
            Run in their order, ``ModelCheckpoint`` last.
        verbose : {"auto", 0, 1, 2}, default="auto"
            0 silent, 1 a bar and a line an epoch, 2 lines only; "auto" is 1 in a terminal, else 0.
        sample_weight : array of shape (N,), default=None
            What each sample counts for in the loss: finite, at least 0, not all 0. The loss of a
            batch, of an epoch and of ``evaluate`` is ``sum(w * l) / sum(w)``. Metrics count all
            samples alike.
        metrics : list of str and functions, default=None
            As for ``compile``; None means those of ``compile`` or the last ``fit``.
        resume : str or path, default=None
            A checkpoint (``ModelCheckpoint``) to go on from, also in the middle of an epoch, until
            there have been ``epochs`` epochs in all. Everything else must be what it was.
        steps_per_epoch : int, default=None
            Where ``x`` gives batches: how many an epoch, at least 1. None means all there are.

        Returns
        -------
        history : History
            One value an epoch; also in ``model.history``.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above, or the checkpoint is of other data, layers or settings:
            the message says what differs. Then nothing has changed. If a batch from ``x`` does not
            fit, or there are too few: the message has its number, and the weights are those of the
            last complete step.
        FastmlpFormatError
            If the checkpoint is damaged or none.
        OSError
            If it cannot be read, or one cannot be written.
        DivergenceError
            If the loss or a weight becomes NaN or infinite. The weights are again those of the
            start of that epoch, and ``model.history`` keeps the epochs before.

        Notes
        -----
        Ctrl-C ends the run after the current step and ``fit`` returns normally, with
        ``history.interrupted`` true and the weights of the last complete step: in a notebook
        training goes on with the next ``fit``. A second Ctrl-C raises KeyboardInterrupt.

        Dividing by the sum of the weights, as scikit-learn's averages and PyTorch's class weights
        do, makes the size of the weights not matter, only their ratios, and a weight of 2 the
        same as a sample that is there twice in a batch of all samples. Keras divides by the number
        of samples, which changes the step with the weights. In mini-batches each batch is a mean
        of its own; one in which nothing has weight has loss 0 and gradients of 0.

        A large file need not fit into memory: ``np.memmap`` arrays of more than 64 MiB are read by
        pieces of 4 MiB, also by ``evaluate``, ``predict`` and for ``validation_data``. The pieces
        are shuffled, 16 of them read at a time, and the samples shuffled within these 64 MiB, all
        by (seed, number of the epoch). So samples are mixed less than in memory: a file should not
        be sorted by its targets. It is read once more before the training, for values that are not
        finite. Batches are whole, except for one, which is not always the last.

        Batches are taken one at a time, each after the step before it, and in the order in which
        they come; they may be of different sizes. Each is checked as by ``train_on_batch``, and
        trained with the same bits. What the first one is (the type of its samples, labels or rows,
        weights or none) the others must be. An iterator goes on from epoch to epoch, so it needs
        ``steps_per_epoch`` if there are several; one that ends too early is an error that says how
        many came. Everything else begins again with every epoch. An error raised by a generator
        passes through ``fit``, and the weights are those of the last complete step. Checkpoints can
        be resumed from the end of an epoch: what a source gives from then on is up to you, and if
        it is what it would have given, the run ends with the same bits.

        A run that is resumed ends with the same bits as one that was never stopped: weights, states
        of the optimizer and history, but for "time". That holds for any number of threads, on the
        same backend and instruction set; on another one there is a warning. ``epochs`` may be
        larger than it was, and callbacks may differ; those of the same class go on with their
        states. A callback of your own that a resumed run must not forget has ``state`` and
        ``restore``. To go on if there is something to go on from: ``resume=path if
        os.path.exists(path) else None``.

        Metrics of the training are those of the outputs before each step, as loss and accuracy
        are; those of ``validation_data`` are of one network.
        """
        chosen = self.optimizer if optimizer is None else optimizers.get(optimizer)
        used = self.loss if loss is None else losses.get(loss)
        given = self.metrics if metrics is None else scoring.check_metrics(metrics)
        n_epochs = _checks.integer(epochs, "epochs", minimum=1)
        batch = _checks.integer(batch_size, "batch_size", minimum=1)
        shuffles = _checks.boolean(shuffle, "shuffle")
        steps = steps_per_epoch
        if steps is not None:
            steps = _checks.integer(steps, "steps_per_epoch", minimum=1)
        source = data.for_training(
            self,
            used,
            x,
            y,
            sample_weight,
            epochs=n_epochs,
            batch_size=batch,
            shuffle=shuffles,
            steps_per_epoch=steps,
        )
        settings = FitSettings(
            source=source,
            validation=data.for_validation(self, used, validation_data),
            epochs=n_epochs,
            batch_size=batch,
            shuffle=shuffles,
            steps_per_epoch=steps,
            callbacks=check_callbacks(callbacks),
            progress=Progress(_checks.verbosity(verbose), n_epochs, source.samples),
            scores=scoring.scores(given, used, self.output_shape),
            config=self._saved,
            resume=None if resume is None else checkpoint.read(resume),
        )
        settings.check(chosen)
        history = History()
        run = Run(self, used, chosen, settings, history)
        if resume is None:
            first = self.layers[0]
            if isinstance(first, Standardize) and source.data and not first.is_adapted:
                first.adapt_checked(source.data.x)
            self.check_ready()
        self.optimizer, self.loss, self.metrics = chosen, used, given
        self.history = history
        loop.fit(self, used, chosen, settings, run)
        return history

    def train_on_batch(
        self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Do one step on all of ``x``, with the optimizer and loss of ``compile`` or ``fit``.

        Parameters
        ----------
        x, y : array
            As for ``fit``.
        sample_weight : array of shape (N,), default=None
            What each sample counts for in the loss: finite, at least 0, not all 0.

        Returns
        -------
        loss : float
            Mean over the batch, before the update.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the model.
        DivergenceError
            If the loss is not finite. Then nothing has changed.
        """
        samples, targets = self.data(x, y, self.loss)
        self.check_batches(len(samples), len(samples))
        weights = self.weights(sample_weight, len(samples), self.loss)
        state = self.state(self.optimizer)
        job = Pass(samples, targets, batch=len(samples), weights=weights)
        loss = engine(self).train(self.loss, state, job).loss
        if not math.isfinite(loss):
            rate = state.learning_rate
            raise DivergenceError(
                f"train_on_batch: the loss is {loss}, so no step was made (learning rate {rate:g})."
                " Lower the learning rate, and check that the inputs are scaled.",
                epoch=self.epochs_begun,
                step=1,
                learning_rate=rate,
            )
        return loss

    def gradients(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        loss: str | Loss = "cross_entropy",
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss over all of ``x`` and its gradient by every parameter.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples.
        y : array
            Targets as the loss takes them.
        loss : str or Loss, default="cross_entropy"
            The loss.
        sample_weight : array of shape (N,), default=None
            What each sample counts for in the loss: finite, at least 0, not all 0.

        Returns
        -------
        loss : float
            Mean over the samples.
        gradients : dict of str to array
            New arrays, with the keys and shapes of ``parameters``.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the network and the loss.

        Notes
        -----
        Layers do what they do in a training step, but nothing changes: Dropout and GaussianNoise
        draw what they draw in the first step of a network, whatever has been trained since;
        BatchNorm takes the statistics of the batch, and its running ones stay as they are.
        """
        chosen = losses.get(loss)
        samples, targets = self.data(x, y, chosen)
        self.check_batches(len(samples), len(samples))
        weights = self.weights(sample_weight, len(samples), chosen)
        return engine(self).gradients(chosen, samples, targets, weights=weights)

    # --- Use ------------------------------------------------------------------------------------

    def evaluate(
        self,
        x: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return the mean loss over all of ``x``, and the metrics of ``compile`` or ``fit``.

        Parameters
        ----------
        x, y : array
            As for ``fit``; without ``y``, batches, all that there are.
        sample_weight : array of shape (N,), default=None
            What each sample counts for in the loss: finite, at least 0, not all 0.

        Returns
        -------
        measurements : dict
            {"loss": float, "accuracy": float} for a classifier, unless other metrics are chosen.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the model.
        """
        chosen = scoring.scores(self.metrics, self.loss, self.output_shape)
        source = data.for_evaluation(self, self.loss, x, y, sample_weight)
        return evaluation.evaluate(self, self.loss, source, chosen)

    def predict(self, x: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]]) -> Array:
        """Return the raw outputs; for a classifier, the logits.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples, as for ``fit``. Or batches: an iterator, or a function that returns an
            iterable, of samples or of tuples that begin with them.

        Returns
        -------
        outputs : array of shape (N, *output_shape), the model's dtype
            A new array.

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model.

        Notes
        -----
        Any number of threads may predict at once: every call has its own buffers.
        """
        return data.for_prediction(self, x).predict()

    def predict_proba(
        self, x: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]]
    ) -> Array:
        """Return probabilities: the softmax of the outputs, or the sigmoid of each.

        The sigmoid is for a single output, and for models trained with binary_cross_entropy. If the
        last layer is a softmax or sigmoid already, its outputs are returned as they are.

        Returns
        -------
        probabilities : array of shape (N, classes), the model's dtype

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model.
        """
        outputs = self.predict(x)
        if self.output_activation in ("softmax", "sigmoid"):
            return outputs
        ops = self.ops
        each = self.output_shape == (1,) or isinstance(self.loss, losses.BinaryCrossEntropy)
        squash = ops.sigmoid if each else ops.softmax
        result: Array = squash(outputs, out=outputs)
        return result

    def plan(self, batch_size: int = 32, purpose: str = "train") -> Any:
        """Return the compiled plan of a step; print it for a table of its operations.

        It is that for samples without many zeros: where batches of others have zeros in common, the
        products of a first dense layer leave them out.

        Parameters
        ----------
        batch_size : int, default=32
            Samples a step, at least 1.
        purpose : {"train", "evaluate", "predict", "gradients"}, default="train"
            What the plan is for.

        Returns
        -------
        plan : Plan
            Its ``operations`` have kind, layer, shape, fused parts, flops, bytes and threads.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above, or the backend is "numpy": it has no plans.
        """
        rows = _checks.integer(batch_size, "batch_size", minimum=1)
        known = dict.fromkeys(("train", "evaluate", "predict", "gradients"))
        _checks.lookup(purpose, known, "purpose")
        if self.backend == "numpy":
            raise ValueError('plan: the backend must be "kernels", got "numpy".')
        runner: Any = engine(self)
        return runner.describe(purpose, rows, self.loss, self.state(self.optimizer))

    # --- Files ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically.

        The file holds the weights, the layers and how the model is trained; a crash at any moment
        leaves either the old file or the new one. Initializers that are functions of the user's
        are left out: they are not needed again. So are metrics that are functions.

        Raises
        ------
        ValueError
            If a weight is not finite.
        OSError
            If the file cannot be written; then the old one is intact.
        """
        io.write_model(path, self._saved(), self.arrays)

    def _saved(self) -> dict[str, Any]:
        """Return what ``load_model`` makes the model of again."""
        return self.config() | {
            "optimizer": optimizers.config(self.optimizer),
            "loss": losses.config(self.loss),
            "metrics": None
            if self.metrics is None
            else [metric for metric in self.metrics if isinstance(metric, str)],
            "epochs_begun": self.epochs_begun,
            "steps_done": self.steps_done,
        }

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return (
            f"Sequential([{layers}], input_shape={self.input_shape}, dtype='{self.dtype}', "
            f"seed={self.seed})"
        )


def load_model(path: str | os.PathLike[str]) -> Sequential:
    """Read a model that ``save`` wrote, or that of a checkpoint.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    model : Sequential
        With the weights, the optimizer and the loss of the saved one, on the default backend.

    Raises
    ------
    FastmlpFormatError
        If the file is truncated, changed, too large or not a model of fastmlp.
    OSError
        If it cannot be read.

    Notes
    -----
    Nothing in a file is executed, so a stranger's file is safe to load. Shapes are compared before
    memory is asked for.
    """
    with io.ModelFile(path) as file:
        config = file.config
        model = Sequential.from_config(config)
        model.optimizer = optimizers.get(config["optimizer"])
        model.loss = losses.get(config["loss"])
        if config["metrics"] is not None:
            model.metrics = scoring.check_metrics(config["metrics"])
            scoring.scores(model.metrics, model.loss, model.output_shape)
        model.epochs_begun = _checks.integer(config["epochs_begun"], "epochs_begun", minimum=0)
        steps = config.get("steps_done", 0)  # files of before have none
        model.steps_done = _checks.integer(steps, "steps_done", minimum=0)
        file.check(model.shapes, model.dtype)
        values = file.read()[0]
        model.check_ranges(values)
        model.assign(values)
    return model
