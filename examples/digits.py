"""Train a small classifier, show its worst mistakes, and save it.

python examples/digits.py
"""

import numpy as np

import fastmlp as fm

(x, y), (x_test, y_test) = fm.datasets.load_digits()
model = fm.MLP(64, [128, 64], 10, activation="relu", init="he_normal", seed=0)
print(model.summary())

history = model.fit(x, y, epochs=30, batch_size=16, optimizer=fm.SGD(0.2), verbose=2)
print(model.evaluate(x_test, y_test))

probabilities = model.predict_proba(x_test)
labels = probabilities.argmax(axis=1)
wrong = np.flatnonzero(labels != y_test)
print(f"{len(wrong)} of {len(y_test)} test digits are misclassified; the most confident mistakes:")
for row in wrong[np.argsort(-probabilities[wrong].max(axis=1))][:3]:
    print(f"{y_test[row]} classified as {labels[row]} with {probabilities[row].max():.0%}")
    for line in x_test[row]:
        print("".join(" .:*#"[min(4, int(value * 5))] for value in line))

model.save("digits.safetensors")
print("saved as digits.safetensors")
