import Attention
import Records
import Statistics
import TensorFiles
import Units

/// Past keys and values that new ones are appended to.
public struct PastCache: Sendable {
  let key: FileProblem.Source
  let value: FileProblem.Source

  /// Names both; they may have no rows.
  public init(key: FileProblem.Source, value: FileProblem.Source) {
    self.key = key
    self.value = value
  }
}

extension FileProblem.Source {
  /// This cache followed by new rows, element for element as both are stored.
  ///
  /// - Throws: `FileProblemError` where the two do not fit together, or a failed allocation.
  func appending(
    _ new: FileProblem.Source, _ arrangement: FileArrangement, folded: Int?
  ) throws -> FileProblem.Source {
    let past = try FilePlacement(self, arrangement.caches, mayBeEmpty: true)
    let added = try FilePlacement(new, arrangement, folded: folded)
    let sizes = [
      ("batch", past.batch, added.batch), ("key/value heads", past.heads, added.heads),
      ("columns", past.columns, added.columns),
    ]
    if let (what, found, expected) = sizes.first(where: { $0.1 != $0.2 }) {
      throw FileProblemError(
        source: name,
        problem: "has shape \(tensor.shape) and \(new.name) has \(new.tensor.shape); \(what) must "
          + "agree: \(found) is not \(expected)")
    }
    guard tensor.elementType == new.tensor.elementType else {
      throw FileProblemError(
        source: name,
        problem: "holds \(tensor.elementType.safetensorsName) elements and \(new.name) "
          + "\(new.tensor.elementType.safetensorsName); save both in one type")
    }
    let shape = past.shape(rows: past.rows + added.rows)
    let width = tensor.elementType.byteWidth
    let present = try FileTensor(shape: shape, elementType: tensor.elementType) { bytes in
      let target = Self.strides(arrangement.caches, past.heads, shape, past.columns)
      for (tensor, placement, firstRow) in [(tensor, past, 0), (new.tensor, added, past.rows)] {
        let strides = placement.strides(columns: placement.columns)
        tensor.withUnsafeBytes { elements in
          for batch in 0..<placement.batch {
            for head in 0..<placement.heads {
              for row in 0..<placement.rows {
                let from = batch * strides.batch + head * strides.head + row * strides.row
                let to =
                  batch * target.batch + head * target.head + (firstRow + row) * target.row
                let count = placement.columns * width
                UnsafeMutableRawBufferPointer(rebasing: bytes[(to * width)...].prefix(count))
                  .copyMemory(
                    from: UnsafeRawBufferPointer(
                      rebasing: elements[(from * width)...].prefix(count)))
              }
            }
          }
        }
      }
    }
    return FileProblem.Source(present, name: "\(new.name) behind \(name)")
  }

  private static func strides(
    _ arrangement: FileArrangement, _ heads: Int, _ shape: [Int], _ columns: Int
  ) -> (batch: Int, head: Int, row: Int) {
    let rows = shape[shape.count - (arrangement.layout == .bhnd ? 2 : 3)]
    let batch = heads * rows * columns
    return arrangement.layout == .bhnd
      ? (batch, rows * columns, columns) : (batch, columns, heads * columns)
  }
}
