import Attention
import MachineTopology
import RealModule
import Records
import Statistics
import Units

/// Fills a tensor with unit normals, a head a task.
///
/// The numbers of a head depend on the seed, the tensor's role, the batch entry and the head alone:
/// the rows of a short tensor are the first rows of a longer one, and the number of workers does
/// not matter.
package final class NormalFill: TeamJob, @unchecked Sendable {
  private let tensor: Tensor
  private let role: Int
  private let seed: UInt64
  private let queue: TaskQueue

  /// - Parameter role: 0 for query, 1 for key, 2 for value.
  package init(_ tensor: Tensor, role: Int, seed: UInt64) {
    self.tensor = tensor
    self.role = role
    self.seed = seed
    queue = TaskQueue(count: tensor.shape.batch * tensor.shape.heads)
  }

  package func work(worker: Int) {
    let shape = tensor.shape
    let count = shape.rows * shape.columns
    while let head = queue.next() {
      var generator = SeededGenerator(
        seed: seed, path: [role, head / shape.heads, head % shape.heads])
      // Every head is written by one worker.
      tensor.elements.withUnsafeMutableBufferPointer {
        Self.fill(
          UnsafeMutableBufferPointer(rebasing: $0[head * count..<(head + 1) * count]),
          with: &generator)
      }
    }
  }

  /// Box and Muller 1958, "A note on the generation of random normal deviates": two a time.
  private static func fill(
    _ elements: UnsafeMutableBufferPointer<Float>, with generator: inout SeededGenerator
  ) {
    var index = 0
    while index < elements.count {
      // 24 bits make a float without rounding; the half keeps the logarithm from zero.
      let bits = generator.next()
      let radius = (Float(bits >> 40) + 0.5) * 0x1p-24
      let angle = Float(bits & 0xFF_FFFF) * 0x1p-24 * 2 * .pi
      let length = (-2 * Float.log(radius)).squareRoot()
      elements[index] = length * Float.cos(angle)
      if index + 1 < elements.count { elements[index + 1] = length * Float.sin(angle) }
      index += 2
    }
  }
}
