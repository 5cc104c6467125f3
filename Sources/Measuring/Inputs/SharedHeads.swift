import TensorFiles

/// Heads of queries and keys that several heads of values share, as the groups of Mamba-2 and the key heads
/// of Gated DeltaNet are: each is repeated for all of its values.
enum SharedHeads {
  /// How many heads of values each head of queries and keys serves; 1 where they are not shared so.
  static func share(query: FilePlacement, key: FilePlacement, value: FilePlacement) -> Int {
    query.heads == key.heads && value.heads % key.heads == 0 ? value.heads / key.heads : 1
  }
}

extension FileProblem.Source {
  /// Each head `share` times in a row.
  ///
  /// - Parameter placement: where the heads lie.
  /// - Throws: a failed allocation.
  func repeatingHeads(_ share: Int, _ placement: FilePlacement) throws -> FileProblem.Source {
    let (shape, outer) = placement.repeatingHeads(share)
    let headBytes = tensor.withUnsafeBytes { $0.count } / outer / placement.heads
    let repeated = try FileTensor(shape: shape, elementType: tensor.elementType) { target in
      tensor.withUnsafeBytes { source in
        for index in 0..<outer * placement.heads * share {
          target[index * headBytes..<(index + 1) * headBytes]
            .copyBytes(from: source[index / share * headBytes..<(index / share + 1) * headBytes])
        }
      }
    }
    return FileProblem.Source(repeated, name: name)
  }
}
