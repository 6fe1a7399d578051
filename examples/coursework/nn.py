"""The graded class NN of IFT6135: a multilayer perceptron that exposes every intermediate array."""

import numpy as np

from fastmlp import kernels

from .floats import floats


class NN:
    """A perceptron with a softmax output, trained by plain gradient descent.

    Parameters
    ----------
    hidden_dims : tuple of int, default=(512, 256)
    n_classes : int, default=10
    epsilon : float, default=1e-6
        The loss clips predictions to [epsilon, 1 - epsilon].
    lr : float, default=7e-4
        Learning rate.
    batch_size : int, default=1000
    seed : int, default=None
        Seed for numpy's global generator, set before the weights are drawn.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
    data : tuple, default=None
        ``(train, valid, test)``, each ``(x, y)`` with rows of floats and labels: class numbers or
        one-hot rows. Weights have the dtype of the training rows, float64 without data.
    init_method : {"glorot", "normal", "zeros"}, default="glorot"
        U(-d, d) with d = sqrt(6 / (fan_in + fan_out)), N(0, 1), or 0. Biases are 0.

    Attributes
    ----------
    weights : dict
        "W1" (in, out), "b1" (1, out), ..., up to "Wm", m = len(hidden_dims) + 1.
    train_logs : dict of list
        "train_accuracy", "validation_accuracy", "train_loss", "validation_loss" of every epoch.
    """

    #: The module that computes; ``fastmlp.reference`` has the same functions in plain numpy.
    operations = kernels

    def __init__(
        self,
        hidden_dims=(512, 256),
        n_classes=10,
        epsilon=1e-6,
        lr=7e-4,
        batch_size=1000,
        seed=None,
        activation="relu",
        data=None,
        init_method="glorot",
    ):
        self.hidden_dims = hidden_dims
        self.n_hidden = len(hidden_dims)
        self.n_classes = n_classes
        self.epsilon = epsilon
        self.lr = lr
        self.batch_size = batch_size
        self.seed = seed
        self.activation_str = activation
        self.init_method = init_method
        self.train, self.valid, self.test = (None, None, None) if data is None else data
        self.weights = {}
        names = ("train_accuracy", "validation_accuracy", "train_loss", "validation_loss")
        self.train_logs = {name: [] for name in names}

    def initialize_weights(self, dims):
        """Fill ``weights``; dims are the number of inputs and the number of classes."""
        draw = {
            "glorot": lambda shape: np.random.uniform(-1, 1, shape) * np.sqrt(6 / sum(shape)),
            "normal": lambda shape: np.random.normal(0, 1, shape),
            "zeros": np.zeros,
        }.get(self.init_method)
        if draw is None:
            raise ValueError(
                f'init_method must be "glorot", "normal" or "zeros", got {self.init_method!r}.'
            )
        if self.seed is not None:
            np.random.seed(self.seed)
        dtype = np.float64 if self.train is None else floats(self.train[0][:1])[0].dtype
        sizes = [dims[0], *self.hidden_dims, dims[1]]
        self.weights = {}
        for layer in range(1, self.n_hidden + 2):
            shape = sizes[layer - 1], sizes[layer]
            self.weights[f"W{layer}"] = draw(shape).astype(dtype)
            self.weights[f"b{layer}"] = np.zeros((1, shape[1]), dtype)

    # --- Functions of arrays --------------------------------------------------------------------

    def relu(self, x, grad=False):
        """Return max(x, 0), or its derivative at x: 1 where x is positive."""
        (x,) = floats(x)
        if grad:
            return self.operations.relu_backward(np.ones_like(x), x)
        return self.operations.relu(x)

    def sigmoid(self, x, grad=False):
        """Return 1 / (1 + exp(-x)), or its derivative at x."""
        (x,) = floats(x)
        y = self.operations.sigmoid(x)
        return self.operations.sigmoid_backward(np.ones_like(x), y) if grad else y

    def tanh(self, x, grad=False):
        """Return tanh(x), or its derivative at x."""
        (x,) = floats(x)
        y = self.operations.tanh(x)
        return self.operations.tanh_backward(np.ones_like(x), y) if grad else y

    def activation(self, x, grad=False):
        """Return the activation with the chosen name, or its derivative.

        Raises
        ------
        ValueError
            If the name is not "relu", "sigmoid" or "tanh".
        """
        self._check_activation()
        return getattr(self, self.activation_str)(x, grad)

    def _check_activation(self):
        if self.activation_str not in ("relu", "sigmoid", "tanh"):
            raise ValueError(
                f'invalid activation: "relu", "sigmoid" or "tanh", got {self.activation_str!r}.'
            )

    def softmax(self, x):
        """Return the softmax of each row; large numbers do not overflow."""
        return self.operations.softmax(floats(x)[0])

    # --- A step ---------------------------------------------------------------------------------

    def forward(self, x):
        """Return the cache of all layers.

        "Z0" is x, "A1" the pre-activation and "Z1" the output of the first layer, and so on; "Zm"
        holds the probabilities.
        """
        cache = {"Z0": x}
        last = self.n_hidden + 1
        for layer in range(1, last + 1):
            z, weight, bias = floats(
                cache[f"Z{layer - 1}"], self.weights[f"W{layer}"], self.weights[f"b{layer}"]
            )
            cache[f"A{layer}"] = self.operations.dense(z, weight, bias.reshape(-1))
            function = self.softmax if layer == last else self.activation
            cache[f"Z{layer}"] = function(cache[f"A{layer}"])
        return cache

    def backward(self, cache, labels):
        """Return the gradients of the mean loss over the rows of a batch.

        Parameters
        ----------
        cache : dict
            Result of :func:`forward`.
        labels : array of shape (N, n_classes)
            One-hot rows.

        Returns
        -------
        grads : dict
            "dAm", "dWm", "dbm", "dZ(m-1)", "dA(m-1)", ..., "dW1", "db1"; each has the shape of its
            array.
        """
        self._check_activation()
        ops, last = self.operations, self.n_hidden + 1
        # dZ to dA in one pass, from the output if the derivative is simple in terms of it.
        derive = getattr(ops, f"{self.activation_str}_backward")
        output = cache[f"Z{last}"]
        grads = {f"dA{last}": (output - np.asarray(labels, output.dtype)) / len(output)}
        for layer in range(last, 0, -1):
            below = cache[f"Z{layer - 1}"]
            da, z, weight = floats(grads[f"dA{layer}"], below, self.weights[f"W{layer}"])
            grads[f"dW{layer}"] = ops.matmul(z, da, transpose_a=True)
            grads[f"db{layer}"] = ops.sum_batch(da).reshape(1, -1)
            if layer > 1:
                dz = ops.matmul(da, weight, transpose_b=True)
                grads[f"dZ{layer - 1}"] = dz
                grads[f"dA{layer - 1}"] = derive(dz, z)
        return grads

    def update(self, grads):
        """Update with plain gradient descent: ``W - lr * dW``, ``b - lr * db``."""
        for name, weight in self.weights.items():
            weight = np.require(weight, requirements=["C", "W"])
            gradient = np.asarray(grads[f"d{name}"], weight.dtype)
            self.operations.sgd_update(weight, gradient, self.lr)
            self.weights[name] = weight

    # --- Training -------------------------------------------------------------------------------

    def one_hot(self, y, n_classes=None):
        """Return labels (N,) as one-hot rows; one-hot rows are returned unchanged."""
        y = np.asarray(y)
        return y if y.ndim == 2 else np.eye(n_classes or self.n_classes)[y]

    def loss(self, prediction, labels):
        """Return the mean cross-entropy of probabilities (N, C) and one-hot rows.

        Predictions are clipped to [epsilon, 1 - epsilon]; the array itself is not changed.
        """
        (prediction,) = floats(np.atleast_2d(prediction))
        clipped = np.clip(prediction, self.epsilon, 1 - self.epsilon)
        sums = (np.atleast_2d(labels) * self.operations.log(clipped)).sum(axis=1)
        return -float(np.mean(sums))

    def compute_loss_and_accuracy(self, X, y):
        """Return the loss, the accuracy, and the predicted class numbers."""
        labels = self.one_hot(y)
        probabilities = self.forward(X)[f"Z{self.n_hidden + 1}"]
        predictions = np.argmax(probabilities, axis=1)
        accuracy = float(np.mean(predictions == np.argmax(labels, axis=1)))
        return self.loss(probabilities, labels), accuracy, predictions

    def train_loop(self, n_epochs):
        """Train new weights with batches in the order of the data; return ``train_logs``."""
        x, y = self.train
        labels = self.one_hot(y)
        self.initialize_weights([x.shape[1], labels.shape[1]])
        for _ in range(n_epochs):
            for start in range(0, len(x), self.batch_size):
                rows = slice(start, start + self.batch_size)
                self.update(self.backward(self.forward(x[rows]), labels[rows]))
            for name, data in (("train", self.train), ("validation", self.valid)):
                loss, accuracy, _ = self.compute_loss_and_accuracy(*data)
                self.train_logs[f"{name}_loss"].append(loss)
                self.train_logs[f"{name}_accuracy"].append(accuracy)
        return self.train_logs

    def evaluate(self):
        """Return loss and accuracy on the test set."""
        loss, accuracy, _ = self.compute_loss_and_accuracy(*self.test)
        return loss, accuracy
