import Records
import Statistics
import Units
import Attention
import TensorFiles

extension FileProblem {
  /// These tensors with operands that strategies declare beside them, checked against their
  /// declarations: shape, element type and, unless that is left to `checkOperands`, every value.
  ///
  /// The axes are those of the declaration, whatever the layout of query, key and value; a batch of 1
  /// may be left out.
  ///
  /// - Parameters:
  ///   - sources: names, each with its tensor.
  ///   - declarations: of all strategies that are to run.
  /// - Throws: `AttentionError` for a name that no strategy takes or that is given twice;
  ///   `FileProblemError` for a wrong shape or a value outside the domain; or a failed allocation.
  public func adding(
    _ sources: [(name: String, source: Source)], declared declarations: [OperandDeclaration],
    checksValues: Bool = true
  ) throws -> FileProblem {
    var problem = self
    var given: [String: Source] = [:]
    for (name, source) in sources {
      if let other = given[name] {
        throw AttentionError(
          .invalidArgument, argument: "operand \(name)", value: source.name,
          advice: "is given by \(other.name), too; leave one of them out")
      }
      given[name] = source
      let own = declarations.filter { $0.name == name }
      if own.isEmpty {
        let taken = Set(declarations.map(\.name)).sorted().joined(separator: ", ")
        throw AttentionError(
          .invalidArgument, argument: "operand \(name)", value: source.name,
          advice: taken.isEmpty
            ? "the strategy takes query, key and value alone; leave it out"
            : "the strategy takes \(taken); leave it out")
      }
      for declaration in own {
        problem.named[name] = try problem.named[name] ?? tensor(source, of: declaration)
      }
      problem.namedSources[name] = source.name
    }
    if checksValues { try problem.checkOperands(declarations, under: Visibility()) }
    return problem
  }

  /// Refuses operands that hold what they may not, behind the lengths of sequences aside.
  ///
  /// - Throws: `FileProblemError` naming the file, the place and the value.
  public func checkOperands(
    _ declarations: [OperandDeclaration], under visibility: Visibility
  ) throws(FileProblemError) {
    for declaration in declarations {
      guard let tensor = named[declaration.name] else { continue }
      do throws(AttentionError) {
        try declaration.checkValues(tensor.view, under: visibility)
      } catch {
        throw FileProblemError(
          source: namedSources[declaration.name] ?? declaration.name, problem: "holds \(error)")
      }
    }
  }

  /// Operands of a problem that takes the first queries and keys of these tensors, by name.
  ///
  /// - Parameter seed: draws what is not there and has to be; nil refuses.
  /// - Throws: `AttentionError` naming an operand that is not there and has to be, and when memory is
  ///   refused.
  public func operands(
    _ declarations: [OperandDeclaration], for shape: AttentionShape,
    drawingMissing seed: UInt64? = nil
  ) throws(AttentionError) -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for declaration in declarations {
      guard let whole = named[declaration.name] else {
        if declaration.isOptional { continue }
        if let seed {
          tensors[declaration.name] = try declaration.random(for: shape, seed: seed)
          continue
        }
        let name = declaration.name
        throw AttentionError(
          .invalidArgument, argument: "operand \(name)", value: "missing",
          advice: "\(declaration.letters) is needed (\(declaration.meaning)): save it as \(name) "
            + "beside q, k and v of --inputs")
      }
      if isPacked {
        throw AttentionError(
          .invalidArgument, argument: "operand \(declaration.name)", value: "packed",
          advice:
            "sequences behind each other have no operands beyond q, k and v; run one sequence "
            + "at a time")
      }
      let expected = try declaration.shape(in: self.shape)
      guard whole.shape == expected else {
        throw AttentionError(
          .shapeMismatch, argument: "operand \(declaration.name)", value: whole.shape,
          advice: "must be \(declaration.letters) = \(expected)")
      }
      tensors[declaration.name] = try whole.prefix(declaration.shape(in: shape))
    }
    return tensors
  }

  /// Whether these tensors have all that a strategy must be given.
  public func has(_ declarations: [OperandDeclaration]) -> Bool {
    declarations.allSatisfy { $0.isOptional || named[$0.name] != nil }
  }

  private func tensor(_ source: Source, of declaration: OperandDeclaration) throws -> Tensor {
    let sizes = declaration.axes.map { $0.size(in: shape) }
    let isShort = sizes.count > 1 && sizes[0] == 1
    guard source.tensor.shape == sizes || isShort && source.tensor.shape == Array(sizes.dropFirst())
    else {
      throw FileProblemError(
        source: source.name,
        problem:
          "has shape \(source.tensor.shape); \(declaration.name) is \(declaration.letters) = "
          + "\(sizes) here")
    }
    let floats = try source.floats()
    let tensor = try Tensor(declaration.shape(in: shape))
    floats.withUnsafeElements { tensor.elements.update(from: $0) }
    return tensor
  }
}

extension Tensor {
  /// The first entries along every axis; the tensor itself where those are all.
  fileprivate func prefix(_ shape: TensorShape) throws(AttentionError) -> Tensor {
    if shape == self.shape { return self }
    let part = try Tensor(shape)
    let (view, elements) = (view, part.elements)
    var index = 0
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        for row in 0..<shape.rows {
          let from = view.row(batch, head, row)
          for column in 0..<shape.columns {
            elements[index] = from[column]
            index += 1
          }
        }
      }
    }
    return part
  }
}
