import Foundation
import TensorFiles

/// Small tensors whose elements follow from a formula, so that a failure can be recomputed.
struct TestTensors {
  let query: HostTensor
  let key: HostTensor
  let value: HostTensor

  init(query: [Int], key: [Int], value: [Int]) throws {
    self.query = try Self.tensor(query, phase: 0.3)
    self.key = try Self.tensor(key, phase: 1.1)
    self.value = try Self.tensor(value, phase: 2.7)
  }

  /// Self-attention, `heads` x `n` x `dimension`.
  init(heads: Int = 2, n: Int = 9, dimension: Int = 5) throws {
    let shape = [heads, n, dimension]
    try self.init(query: shape, key: shape, value: shape)
  }

  /// Writes q.npy, k.npy and v.npy, and qkv.safetensors with and without the prefix `layer7`.
  func write(to directory: TemporaryDirectory) throws {
    let all = [("q", query), ("k", key), ("v", value)]
    for (name, tensor) in all { try NpyFile.write(tensor, to: directory.path(name + ".npy")) }
    try SafetensorsFile.write(
      all.map { NamedTensor($0, $1) } + all.map { NamedTensor("layer7." + $0, $1) },
      to: directory.path("qkv.safetensors"))
  }

  private static func tensor(_ shape: [Int], phase: Double) throws -> HostTensor {
    try HostTensor(shape: shape) { elements in
      for index in elements.indices {
        let x = Double(index)
        elements[index] = Float(1.5 * sin(12.9898 * x + phase) + 0.5 * cos(0.7 * x * phase))
      }
    }
  }
}

extension HostTensor {
  var elements: [Float] { withUnsafeElements { Array($0) } }
}
