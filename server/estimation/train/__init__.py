"""Training of the network behind the estimator ``dnn``. Only this folder of the server imports torch."""
