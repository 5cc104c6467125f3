/// A program that serves one way to compute attention.
public struct Implementation: Hashable, Sendable {
  /// Whose strategies it runs.
  public enum Side: Hashable, Sendable {
    /// This build of attnbench: what the others are compared with.
    case own
    /// Another build of it.
    case before
    /// Another library.
    case peer
  }

  /// `library.function`; `attnbench` and `before` for builds of attnbench.
  public let name: String
  /// The program's path and arguments.
  public let command: [String]
  /// Whose it is.
  public let side: Side

  /// Names a program.
  public init(name: String, command: [String], side: Side) {
    self.name = name
    self.command = command
    self.side = side
  }

  /// This build of attnbench.
  public static func own(_ program: String) -> Implementation {
    Implementation(name: "attnbench", command: [program], side: .own)
  }

  /// Another build of attnbench.
  public static func before(_ program: String) -> Implementation {
    Implementation(name: "before", command: [program], side: .before)
  }

  /// The peers there are: a file a library in `folder`, which serves the named function.
  public static func peers(python: String, folder: String) -> [Implementation] {
    let functions = [
      ("onnxruntime", ["mha", "gqa", "sparse", "linear_attention", "gated_delta_net"]),
      ("openvino", ["sdpa"]),
      (
        "torch",
        [
          "sdpa.flash", "sdpa.math", "flex", "flex.preselected", "moba", "indexed",
          "indexed.masked", "additive", "additive.compiled", "linear",
        ]
      ),
      (
        "transformers",
        [
          "gated_delta.chunks", "gated_delta.steps", "kimi.chunks", "kimi.steps", "mamba2.scan",
          "mamba2.step",
        ]
      ),
      ("fla", ["naive"]), ("ggml", ["gated_delta_net"]),
    ]
    return functions.flatMap { library, names in
      names.map { name in
        Implementation(
          name: "\(library).\(name)", command: [python, "\(folder)/\(library)_peer.py", name],
          side: .peer)
      }
    }
  }
}
