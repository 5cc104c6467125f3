import TensorFiles

/// The files that the arguments of a command name, for what it writes must replace none of them.
enum InputPaths {
  /// The path of `FILE` or `FILE.safetensors:KEY`; nil for numbers that are written out, and where there is
  /// no argument.
  static func tensor(_ argument: String?) -> String? {
    argument.flatMap { try? TensorReference($0) }?.path
  }
}
