"""The trainer of CS231n, which uses only ``params`` and ``loss(X, y)`` of a model."""

import numpy as np

from . import optim


class Solver:
    """Train a model with mini-batches that are drawn with replacement.

    Parameters
    ----------
    model : object
        Has ``params``, a dict of arrays, and ``loss(X, y)``, as TwoLayerNet has.
    data : dict
        "X_train", "y_train", "X_val" and "y_val".
    update_rule : str, default="sgd"
        Name of a function in ``optim``.
    optim_config : dict, default={}
        Settings of the update rule; every parameter gets a copy.
    lr_decay : float, default=1.0
        Factor that multiplies the learning rate after every epoch.
    batch_size : int, default=100
    num_epochs : int, default=10
        An epoch is ``max(N // batch_size, 1)`` steps.
    num_train_samples : int, default=1000
        Number of samples for the training accuracy, drawn again each time; None means all.
    num_val_samples : int, default=None
        Number of samples for the validation accuracy; None means all.
    print_every : int, default=10
        Number of steps between printed losses.
    verbose : bool, default=True

    Attributes
    ----------
    loss_history : list of float
        Loss of every step.
    train_acc_history, val_acc_history : list of float
        Accuracies after the first step and after every epoch.
    best_val_acc : float
    best_params : dict
        Parameters with the best validation accuracy; the model has them after ``train``.

    Raises
    ------
    ValueError
        If a keyword or the update rule is unknown.
    """

    def __init__(self, model, data, **kwargs):
        self.model = model
        self.X_train, self.y_train = data["X_train"], data["y_train"]
        self.X_val, self.y_val = data["X_val"], data["y_val"]
        self.update_rule = kwargs.pop("update_rule", "sgd")
        self.optim_config = kwargs.pop("optim_config", {})
        self.lr_decay = kwargs.pop("lr_decay", 1.0)
        self.batch_size = kwargs.pop("batch_size", 100)
        self.num_epochs = kwargs.pop("num_epochs", 10)
        self.num_train_samples = kwargs.pop("num_train_samples", 1000)
        self.num_val_samples = kwargs.pop("num_val_samples", None)
        self.print_every = kwargs.pop("print_every", 10)
        self.verbose = kwargs.pop("verbose", True)
        if kwargs:
            raise ValueError(f"Unrecognized arguments {', '.join(sorted(kwargs))}.")
        rule = getattr(optim, self.update_rule, None)
        if self.update_rule.startswith("_") or not callable(rule):
            raise ValueError(f"Invalid update_rule {self.update_rule!r}.")
        self.update_rule = rule
        self._reset()

    def _reset(self):
        self.epoch = 0
        self.best_val_acc = 0
        self.best_params = {}
        self.loss_history = []
        self.train_acc_history = []
        self.val_acc_history = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}

    def _step(self):
        """Update every parameter once."""
        rows = np.random.choice(len(self.X_train), self.batch_size)
        loss, grads = self.model.loss(self.X_train[rows], self.y_train[rows])
        self.loss_history.append(loss)
        for name, weight in self.model.params.items():
            config = self.optim_configs[name]
            self.model.params[name], self.optim_configs[name] = self.update_rule(
                weight, grads[name], config
            )

    def check_accuracy(self, X, y, num_samples=None, batch_size=100):
        """Return the share of samples that the model classifies correctly.

        If num_samples is below the number of samples, they are drawn at random.
        """
        if num_samples is not None and num_samples < len(X):
            rows = np.random.choice(len(X), num_samples)
            X, y = X[rows], y[rows]
        found = [
            np.argmax(self.model.loss(X[start : start + batch_size]), axis=1)
            for start in range(0, len(X), batch_size)
        ]
        return np.mean(np.concatenate(found) == y)

    def train(self):
        """Train for ``num_epochs`` epochs, then give the model the best parameters."""
        steps_of_an_epoch = max(len(self.X_train) // self.batch_size, 1)
        steps = self.num_epochs * steps_of_an_epoch
        for step in range(steps):
            self._step()
            if self.verbose and step % self.print_every == 0:
                print(f"(Iteration {step + 1} / {steps}) loss: {self.loss_history[-1]:f}")
            ends_epoch = (step + 1) % steps_of_an_epoch == 0
            if ends_epoch:
                self.epoch += 1
                for config in self.optim_configs.values():
                    config["learning_rate"] *= self.lr_decay
            if step == 0 or ends_epoch:
                self._measure()
        if self.best_params:
            self.model.params = self.best_params

    def _measure(self):
        train = self.check_accuracy(self.X_train, self.y_train, self.num_train_samples)
        valid = self.check_accuracy(self.X_val, self.y_val, self.num_val_samples)
        self.train_acc_history.append(train)
        self.val_acc_history.append(valid)
        if self.verbose:
            print(
                f"(Epoch {self.epoch} / {self.num_epochs}) train acc: {train:f}; val_acc: {valid:f}"
            )
        if valid > self.best_val_acc:
            self.best_val_acc = valid
            self.best_params = {name: w.copy() for name, w in self.model.params.items()}
