"""What Python, TensorFlow and Keras work out anew for each layer, variable and operation.

They come to the same answer each time, or to one that no test asks for. As the tests build
thousands of small networks, that took an eighth of their time.
"""

import ctypes
import functools
import inspect
import sys
import types
import typing


def quicken():
    """Work it out once in this process; nothing that a network computes is changed."""
    from keras.src.layers import layer
    from keras.src.ops import operation
    from tensorflow.python.framework import op_def_library as definitions
    from tensorflow.python.ops import gen_resource_variable_ops as variables
    from tensorflow.python.util import tf_stack, traceback_utils

    from kzoo.training.allocation import keep_freed_memory

    if sys.version_info < (3, 12):  # which remembers them itself
        typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
    remembered = types.SimpleNamespace(**vars(inspect))
    remembered.signature = once_a_function(inspect.signature)
    remembered.getfullargspec = once_a_function(inspect.getfullargspec)
    layer.inspect = operation.inspect = remembered
    layer.Layer.__setattr__ = plainly(layer.Layer.__setattr__)
    variables.var_handle_op = of_one_name(variables.var_handle_op)
    definitions._SatisfiesTypeConstraint = of_refused(definitions._SatisfiesTypeConstraint)
    # The line that drew an operation is asked for where the operation fails, and only printed.
    stack = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: stack
    traceback_utils.disable_traceback_filtering()  # watched for in each call of an operation
    keep_freed_memory()


def give_back():
    """Return freed memory to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def once_a_function(tell):
    """`tell` of functions, and of methods of any object, with a memory."""
    told = {}

    def call(method):
        function = getattr(method, "__func__", method)
        key = function, function is method
        if key not in told:
            told[key] = tell(method)
        return told[key]

    return call


def plainly(assign):
    """The assignment to attributes of a layer, without a look at what of a number is tracked."""

    def call(self, name, value):
        if type(value) in (bool, float, int, str, type(None)) and "_tracker" in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            assign(self, name, value)

    return call


def of_one_name(make):
    """The maker of variables' handles; in eager mode TensorFlow compiles one for each name."""
    import tensorflow as tf

    def call(**options):
        if tf.executing_eagerly() and "debug_name" in options:
            options["debug_name"] = ""
        return make(**options)

    return call


def of_refused(check):
    """The check of an operation's type, which writes the list of those allowed before it looks."""

    def call(dtype, attr_def, param_name):
        if dtype not in attr_def.allowed_values.list.type:
            check(dtype, attr_def, param_name)

    return call
