/// What is to be written of one tensor, whichever form it has in memory.
struct TensorContent: Sendable {
  private enum Source {
    case floats(HostTensor, as: TensorElementType)
    case stored(StoredTensor)
  }

  private let source: Source

  /// The elements of `tensor`, rounded to `type`.
  init(_ tensor: HostTensor, as type: TensorElementType) { source = .floats(tensor, as: type) }

  /// The elements of `tensor` as they are.
  init(_ tensor: StoredTensor) { source = .stored(tensor) }

  var shape: FileShape {
    switch source {
    case .floats(let tensor, _): tensor.checkedShape
    case .stored(let tensor): tensor.checkedShape
    }
  }

  /// What the file will hold.
  var elementType: StoredElementType {
    switch source {
    case .floats(_, let type): .floating(type)
    case .stored(let tensor): tensor.elementType
    }
  }

  func write(to output: TensorOutput) throws(TensorFileError) {
    switch source {
    case .floats(let tensor, let type): try output.write(tensor, as: type)
    case .stored(let tensor): try output.write(tensor)
    }
  }
}
