import Attention
import AttentionBench
import Foundation

/// What a driver asks for: one JSON object a line on standard input.
struct Request: Decodable {
  /// The requests there are, by the word in `command`.
  enum Command: String, Decodable, CaseIterable {
    case describe, prepare, run, save, peak, bandwidth
  }

  let command: Command

  /// `describe`: the command line to record.
  struct Describe: Decodable {
    let argv: [String]
    let options: [String: String]
    let seed: UInt64
  }

  /// `prepare`: the work. Arrays are `.npy` files of shape `[h, n, d]` or `[b, h, n, d]`, which hold
  /// fp32 whatever the element type is.
  struct Prepare: Decodable {
    let query: String
    let key: String
    let value: String
    let strategy: String
    let causal: Bool
    /// How tensors are stored, as results name it: `fp32`, `bf16`.
    let dtype: String
    let threads: Int
    let binding: String

    var elements: Storage {
      get throws {
        let types = ElementType.allCases.filter(\.isFloatingPoint).map { Storage($0) }
        if let type = types.first(where: { $0.label == dtype }) { return type }
        let known = types.map(\.label).joined(separator: ", ")
        throw RequestError(description: "dtype \(dtype): must be one of \(known)")
      }
    }
  }

  /// `run`: calls in a row, the first `warm` of them not timed.
  struct Run: Decodable {
    let warm: Int
    let repeats: Int
  }

  /// `peak`: what is multiplied.
  struct Peak: Decodable {
    let arithmetic: Arithmetic
  }

  /// `save`: where the output of the last call goes, in fp32.
  struct Save: Decodable {
    let path: String
  }
}

/// What `prepare` answers: everything a row of `results.csv` needs to know of the work.
struct Prepared: Encodable {
  let strategy: String
  let parameters: String
  /// What its products are taken in.
  let arithmetic: Arithmetic
  let pairs: Int
  let flops: Int
  let minimumBytes: Int
  let workspaceBytes: Int
  /// The processing units each worker read back after it had bound itself.
  let cpus: [[Int]]
  let isa: String
  let blasCore: String

  private enum CodingKeys: String, CodingKey {
    case strategy, parameters, arithmetic, pairs, flops, cpus, isa
    case minimumBytes = "bytes_min"
    case workspaceBytes = "workspace_bytes"
    case blasCore = "blas_core"
  }
}

/// What `run` answers: nanoseconds a timed call, on the wall and of all threads together.
struct Timed: Encodable {
  let wall: [Int64]
  let processor: [Int64]

  private enum CodingKeys: String, CodingKey {
    case wall = "wall_ns"
    case processor = "cpu_ns"
  }
}

/// What `peak` answers in operations, and `bandwidth` in bytes.
struct Rate: Encodable {
  let perSecond: Double

  private enum CodingKeys: String, CodingKey {
    case perSecond = "per_second"
  }
}

/// What `save` answers: nothing but that it is done.
struct Done: Encodable {}

/// What every request is answered with that cannot be served.
struct Refusal: Encodable {
  let error: String
}

/// A request out of order or not understood.
struct RequestError: Error, CustomStringConvertible {
  let description: String
}
