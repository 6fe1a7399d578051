"""The model that users train: a network with compile, fit, evaluate, predict and save."""

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
from fastmlp._types import Array
from fastmlp.callbacks import Callback
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.layers import Layer, Standardize
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer
from fastmlp.parameter import Initializer

__all__ = ["Sequential", "load_model"]


class Sequential(Network):
    """A chain of layers that can be trained.

    Parameters
    ----------
    layers : iterable of Layer
        At least one. A layer object belongs to one model.
    input_shape : tuple of int, or int
        Shape of one sample. A model with a flat shape, (784,), also accepts samples of 784 elements
        in another shape, such as images (28, 28).
    dtype : {"float32", "float64"}, default="float32"
        Type of the parameters and of all computation.
    seed : int, default=0
        Non-negative random seed for the initial weights, shuffling and dropout masks. Two runs with
        the same seed, data and backend are identical, whatever the number of threads.
    scale : float, default=1.0
        Factor by which all samples are multiplied, in ``fit``, ``evaluate``, ``predict`` and every
        other call. With ``scale=1/255``, images of bytes stay bytes in memory and are converted
        one batch at a time.
    init : str, array or initializer, default=None
        Initial weights of all layers that were made without ``init``; see
        ``fastmlp.initializers``. None means "normal" for an Embedding and "glorot_uniform" for all
        other layers. It does not apply to biases or to the scale parameters of normalization
        layers.

    Attributes
    ----------
    layers : tuple of Layer
    input_shape, output_shape : tuple of int
        Shapes of one sample.
    dtype : numpy.dtype
    seed : int
    backend : {"kernels", "numpy"}
        The implementation that runs the model; may be set at any time between calls.
    optimizer, loss
        Set by the last ``compile`` or ``fit``; ``SGD(0.01)`` and cross_entropy before that.
    history : History or None
        Recorded by the last ``fit``.
    epochs_begun : int
        Number of epochs started so far, across all calls to ``fit``; determines the next shuffle.
    steps_done : int
        Number of training steps so far, across all calls; determines the next dropout masks.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or a layer cannot take the shape it would get.

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
        """Choose the optimizer, the loss and the metrics.

        Parameters
        ----------
        optimizer : str or Optimizer, default="sgd"
            A name stands for the optimizer with its default settings.
        loss : str or Loss, default="cross_entropy"
            "cross_entropy" and "binary_cross_entropy" (both take raw outputs), "hinge", "mse",
            "mae" or "huber", or an object with settings: ``fm.CrossEntropy(label_smoothing=0.1)``.
        metrics : list of str and functions, default=None
            What to measure besides the loss. None means accuracy if the loss has classes; []
            means nothing. For classes: "accuracy", "error", "top_5" (or any other number),
            "log_loss", "precision", "recall" and "f1". The last three measure class 1 if there are
            two classes, else the mean over the classes; "f1_macro", "f1_micro" and "f1_weighted"
            choose the average. For regression: "mse", "mae" and "r2". A function is called with
            (y_true, outputs), arrays of all samples, and returns a number; its column in the
            history has its ``__name__``.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, or the loss or a metric does not fit the model. The model is then
            unchanged.

        Examples
        --------
        >>> import fastmlp as fm
        >>> model = fm.MLP(4, [8], 3)
        >>> model.compile("adam", "cross_entropy", metrics=["accuracy", "f1"])
        >>> model.optimizer
        Adam(learning_rate=0.001)
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
        """Train on mini-batches.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples: any real dtype and memory layout, finite. They are converted at most once and
            never changed. pandas and polars data frames are accepted, and their series for ``y``
            and ``sample_weight``. Without ``y``, batches: an iterable of tuples (x, y) or (x, y,
            sample_weight), such as a generator, or a function without arguments that returns one.
        y : array of shape (N,), (N, classes) or (N, *output_shape)
            Integer labels or one-hot rows for cross_entropy and hinge, numbers from 0 to 1 for
            binary_cross_entropy, any finite numbers for the other losses. A model with one output
            accepts (N,).
        epochs : int, default=10
            Number of passes over the data, at least 1.
        batch_size : int, default=32
            Samples per step, at least 1. The last batch of an epoch may be shorter; its loss is the
            mean over its samples. Omit it if ``x`` yields batches.
        optimizer : str or Optimizer, default=None
            None means the optimizer of ``compile`` or the last ``fit``, or else ``SGD(0.01)``. The
            same object continues with its state; another one starts with a state of zeros.
        loss : str or Loss, default=None
            None means the loss of ``compile`` or the last ``fit``, or else "cross_entropy".
        validation_data : tuple (x, y) or (x, y, sample_weight), default=None
            Data to evaluate after every epoch. It may also be batches: a function that returns an
            iterator, or an iterable object that can be restarted. Iterators cannot be restarted and
            are rejected, and so are plain lists and tuples of batches.
        shuffle : bool, default=True
            Whether each epoch takes the samples in a new order, a function of the seed and the
            number of the epoch.
        callbacks : iterable of Callback, default=None
            Called in the given order, but ``ModelCheckpoint`` after all others.
        verbose : {"auto", 0, 1, 2}, default="auto"
            0 prints nothing, 1 shows a progress bar and prints a line per epoch, 2 prints the lines
            only. "auto" is 1 in a terminal and 0 elsewhere.
        sample_weight : array of shape (N,), default=None
            Weight of each sample in the loss: finite, at least 0, not all 0. The loss of a batch,
            of an epoch and of ``evaluate`` is ``sum(w * l) / sum(w)``, where ``w`` is the weight of
            a sample and ``l`` its loss. Metrics ignore the weights.
        metrics : list of str and functions, default=None
            As for ``compile``; None means the metrics of ``compile`` or the last ``fit``.
        resume : str or path, default=None
            A checkpoint of ``ModelCheckpoint`` to continue from, also in the middle of an epoch,
            until ``epochs`` epochs are complete in total. All other arguments must be the same as
            in the run that wrote it.
        steps_per_epoch : int, default=None
            Number of batches per epoch if ``x`` yields batches, at least 1. None means every batch
            that ``x`` yields.

        Returns
        -------
        history : History
            One value per epoch; also available as ``model.history``.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described, or the checkpoint belongs to other data, layers or
            settings; the message says what differs. The model is then unchanged. Also if a batch
            from ``x`` does not fit, or there are too few batches; the message has the number of the
            batch, and the model keeps the weights of the last complete step.
        FastmlpFormatError
            If the checkpoint is damaged, or is not a checkpoint.
        OSError
            If the checkpoint cannot be read, or a new one cannot be written.
        DivergenceError
            If the loss or a weight becomes NaN or infinite. The model then has the weights from the
            start of that epoch, and ``model.history`` the epochs before it.

        Notes
        -----
        Ctrl-C ends the run after the current step. ``fit`` then returns normally, with
        ``history.interrupted`` true and the weights of the last complete step, so a notebook can
        continue with the next ``fit``. A second Ctrl-C raises KeyboardInterrupt.

        The loss divides by the sum of the weights, as scikit-learn's averages and PyTorch's class
        weights do. So only the ratios of the weights matter, and in a batch of all samples a weight
        of 2 has the effect of a second copy of the sample. Keras divides by the number of samples,
        which changes the size of the step with the weights. Each mini-batch divides by the sum of
        its weights; if that is 0, its loss and its gradients are 0.

        A large file does not have to fit into memory. ``np.memmap`` arrays of more than 64 MiB are
        read in pieces of 4 MiB, by ``fit``, ``evaluate``, ``predict`` and for ``validation_data``.
        ``fit`` shuffles the pieces, reads 16 of them at a time, and shuffles the samples within
        these 64 MiB; both orders are functions of the seed and the number of the epoch. Samples are
        therefore mixed less than in memory, and a file should not be sorted by its targets. Before
        the first epoch, the file is read once to check that its values are finite. All batches have
        ``batch_size`` samples except one, which is not always the last.

        Batches from Python are taken one at a time, after the previous step and in the given order,
        and may differ in size. Each is checked as by ``train_on_batch``, and the result is
        bit-for-bit the same. All batches must have the dtypes of the first one, the same kind of
        targets, and weights if it has weights. An iterator continues from epoch to epoch, so it
        needs ``steps_per_epoch`` if there are several epochs; if it ends early, the error says how
        many batches it yielded. All other iterables start again with every epoch. An error raised
        by a generator passes through ``fit``, and the model keeps the weights of the last complete
        step. Checkpoints from the end of an epoch can be resumed. The source must then continue
        with the batches that it would have yielded next; if it does, the result is bit-for-bit the
        same as without the interruption.

        The result of a resumed run is bit-for-bit that of an uninterrupted run: weights, optimizer
        state and history, except "time". This holds for any number of threads on the same backend
        and instruction set; with another one there is a warning. ``epochs`` may be larger than
        before, and the callbacks may differ; callbacks of the same class get their states back. A
        user-defined callback whose state has to survive implements ``state`` and ``restore``. To
        resume only if there is a checkpoint: ``resume=path if os.path.exists(path) else None``.

        Training metrics, like the training loss and accuracy, are computed from the outputs
        before each step, while the weights change. The metrics of ``validation_data`` are computed
        with the weights at the end of the epoch.

        Examples
        --------
        >>> import fastmlp as fm
        >>> x, y = fm.datasets.make_spirals(300, classes=3)
        >>> model = fm.MLP(2, [16], 3)
        >>> history = model.fit(x, y, epochs=5, optimizer="adam", verbose=0)
        >>> len(history.history["loss"])
        5
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
        """Take one step on all of ``x``, with the optimizer and loss of ``compile`` or ``fit``.

        Parameters
        ----------
        x, y : array
            As for ``fit``.
        sample_weight : array of shape (N,), default=None
            Weight of each sample in the loss: finite, at least 0, not all 0.

        Returns
        -------
        loss : float
            Mean over the batch, before the update.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the model.
        DivergenceError
            If the loss is not finite. The model is then unchanged.

        Examples
        --------
        >>> import fastmlp as fm
        >>> model = fm.MLP(2, [3], 2)
        >>> loss = model.train_on_batch([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> model.steps_done
        1
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
        """Return the mean loss over all of ``x`` and its gradient with respect to each parameter.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples.
        y : array
            Targets as the loss takes them.
        loss : str or Loss, default="cross_entropy"
            The loss.
        sample_weight : array of shape (N,), default=None
            Weight of each sample in the loss: finite, at least 0, not all 0.

        Returns
        -------
        loss : float
            Mean over the samples.
        gradients : dict of str to array
            New arrays, with the keys and shapes of ``parameters``.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the model and the loss.

        Notes
        -----
        Layers compute what they compute in a training step, but nothing changes. Dropout and
        GaussianNoise draw the numbers of the first step of a network, however long the model has
        been trained. BatchNorm uses the statistics of the batch, and its running statistics stay as
        they are.

        Examples
        --------
        >>> import fastmlp as fm
        >>> model = fm.MLP(2, [3], 2)
        >>> loss, gradients = model.gradients([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> gradients["dense_0.weight"].shape
        (2, 3)
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
            As for ``fit``; without ``y``, batches, of which all are evaluated.
        sample_weight : array of shape (N,), default=None
            Weight of each sample in the loss: finite, at least 0, not all 0.

        Returns
        -------
        metrics : dict
            {"loss": float, "accuracy": float} for a classifier, unless other metrics are chosen.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit the model.

        Examples
        --------
        >>> import fastmlp as fm
        >>> model = fm.MLP(2, [3], 2)
        >>> list(model.evaluate([[0.0, 1.0], [1.0, 0.0]], [0, 1]))
        ['loss', 'accuracy']
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
            iterable. A batch is an array of samples, or a tuple that begins with one.

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
        Several threads may predict with one model at the same time: each call has separate buffers.

        Examples
        --------
        >>> import fastmlp as fm
        >>> fm.MLP(2, [3], 4).predict([[0.0, 1.0]]).shape
        (1, 4)
        """
        return data.for_prediction(self, x).predict()

    def predict_proba(
        self, x: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]]
    ) -> Array:
        """Return probabilities: the softmax of the outputs, or the sigmoid of each output.

        The sigmoid is used for a single output and for models trained with binary_cross_entropy. If
        the last layer already is a softmax or sigmoid, its outputs are returned unchanged.

        Returns
        -------
        probabilities : array of shape (N, classes), the model's dtype

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model.

        Examples
        --------
        >>> import fastmlp as fm
        >>> probabilities = fm.MLP(2, [3], 4).predict_proba([[0.0, 1.0]])
        >>> round(float(probabilities.sum()), 5)
        1.0
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
        """Return the compiled plan of a step; printing it shows a table of its operations.

        The plan is the one for samples without many zeros. If the samples of a batch have zeros in
        common, another plan leaves them out of the products of a first dense layer.

        Parameters
        ----------
        batch_size : int, default=32
            Samples per step, at least 1.
        purpose : {"train", "evaluate", "predict", "gradients"}, default="train"
            What the plan is for.

        Returns
        -------
        plan : Plan
            Each of its ``operations`` has a kind, layer, shape, fused parts, flops, bytes and
            threads.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described, or the backend is "numpy", which has no plans.

        Examples
        --------
        >>> import fastmlp as fm
        >>> plan = fm.MLP(2, [3], 2).plan(purpose="predict")  # doctest: +SKIP
        >>> print(plan)  # doctest: +SKIP
        """
        rows = _checks.integer(batch_size, "batch_size", minimum=1)
        known = dict.fromkeys(("train", "evaluate", "predict", "gradients"))
        _checks.lookup(purpose, known, "purpose")
        if self.backend == "numpy":
            raise ValueError('plan: only the "kernels" backend has plans, got backend "numpy".')
        runner: Any = engine(self)
        return runner.describe(purpose, rows, self.loss, self.state(self.optimizer))

    # --- Files ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically.

        The file holds the weights, the layers and the training settings. If the process crashes
        while it is written, either the old file or the new one is intact. Initializers and metrics
        that are user-defined functions are left out: a loaded model does not need the initializers.

        Raises
        ------
        ValueError
            If a weight is not finite, or a layer, the loss or the optimizer is user-defined.
        OSError
            If the file cannot be written. The old file is then intact.

        Examples
        --------
        >>> import fastmlp as fm
        >>> fm.MLP(2, [3], 2).save("model.safetensors")  # doctest: +SKIP
        """
        io.write_model(path, self._saved(), self.arrays)

    def _saved(self) -> dict[str, Any]:
        """Return what ``load_model`` needs besides the weights."""
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
    """Read a model from a file written by ``save``, or from a checkpoint.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    model : Sequential
        With the weights, the optimizer and the loss of the saved model, on the default backend.

    Raises
    ------
    FastmlpFormatError
        If the file is truncated, changed, too large or not a fastmlp model.
    OSError
        If it cannot be read.

    Notes
    -----
    Loading a file never runs code from it, so files from others are safe to load. Shapes are
    compared before memory is allocated.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.load_model("model.safetensors")  # doctest: +SKIP
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
        steps = config.get("steps_done", 0)  # missing in old files
        model.steps_done = _checks.integer(steps, "steps_done", minimum=0)
        file.check(model.shapes, model.dtype)
        values = file.read()[0]
        model.check_ranges(values)
        model.assign(values)
    return model
